import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CounterSet } from '../../base/counters.ts';
import { OperationError } from '../../base/errors.ts';
import { silentLogger } from '../../base/logger.ts';
import type { PeerTransport } from '../../base/peer-transport.ts';
import { SeededRandom } from '../../base/random.ts';
import { AppliedStore } from '../../cluster/applied-store.ts';
import { ClusterNode } from '../../cluster/cluster-node.ts';
import type { JoinedMembers } from '../../cluster/cluster-node-options.ts';
import type { Command, CommandResult } from '../../cluster/state/commands.ts';
import type { ClusterState, NodeEndpoints, NodePlacement } from '../../cluster/state/model.ts';
import type { StateVersions } from '../../cluster/state/versions.ts';
import { MemoryMesh } from './memory-mesh.ts';
import { MemoryDisk, MemoryRecordLog } from './memory-record-log.ts';
import { eventually, realTime } from './real-time.ts';

export interface TestNode {
  readonly node: ClusterNode;
  readonly incarnation: string;
  records: MemoryRecordLog;
  readonly store: AppliedStore;
  readonly counters: CounterSet;
  fenced: boolean;
  removed: boolean;
  fatal: unknown;
}

/** Every node of a test has its endpoints at an address of its own. */
export function testEndpoints(nodeId: string): NodeEndpoints {
  const at = (service: string): string => `${nodeId}.test:${service}`;
  return {
    peer: at('1'),
    replication: at('2'),
    api: at('3'),
    http: at('4'),
    tftp: at('5'),
    iscsi: at('6'),
  };
}

type MakeTransport = (nodeId: string, incarnation: string) => Promise<PeerTransport> | PeerTransport;

/** Nodes of one cluster in this process, with disks that outlive them. */
export class TestCluster {
  readonly mesh = new MemoryMesh();
  readonly genesis: ClusterState;
  readonly nodes = new Map<string, TestNode>();
  readonly disks = new Map<string, MemoryDisk>();
  readonly #makeTransport: MakeTransport;
  readonly #dropTransport: (nodeId: string) => Promise<void> | void;
  /** Damaged disks that were set aside. */
  readonly aside = new Map<string, MemoryDisk>();
  /** Of nodes whose program is not this one. */
  readonly versions = new Map<string, StateVersions>();
  /** What nodes' own settings say of their place. */
  readonly placements = new Map<string, NodePlacement>();
  #folder: string | undefined;
  #starts = 0;
  /** What nodes that joined later were told as they came. */
  readonly #joined = new Map<string, JoinedMembers>();

  constructor(
    genesis: ClusterState,
    transports?: { readonly make: MakeTransport; readonly drop: (nodeId: string) => Promise<void> },
  ) {
    this.genesis = genesis;
    this.#makeTransport =
      transports?.make ?? ((nodeId, incarnation) => this.mesh.join({ nodeId, incarnation }));
    this.#dropTransport = transports?.drop ?? ((nodeId) => this.mesh.leave(nodeId));
  }

  get ids(): string[] {
    return Object.keys(this.genesis.nodes);
  }

  async startAll(): Promise<void> {
    for (const id of this.ids) await this.start(id);
    await Promise.all([...this.nodes.values()].map((n) => n.node.registered));
  }

  async start(nodeId: string): Promise<TestNode> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'bootfabric-cluster-'));
    this.#starts += 1;
    const incarnation = `i${this.#starts}`;
    const joined = this.#joined.get(nodeId);
    const disk = this.disks.get(nodeId) ?? new MemoryDisk();
    this.disks.set(nodeId, disk);
    const records = new MemoryRecordLog(disk);
    const owner = { clusterId: this.genesis.clusterId, nodeId };
    const store = await AppliedStore.open(this.storePath(nodeId), owner);
    const counters = new CounterSet();
    const versions = this.versions.get(nodeId);
    const placement = this.placements.get(nodeId);
    const started: TestNode = {
      node: new ClusterNode({
        nodeId,
        incarnation,
        endpoints: this.genesis.nodes[nodeId]?.endpoints ?? testEndpoints(nodeId),
        genesis: this.genesis,
        ...(joined === undefined ? {} : { joined }),
        ...(versions === undefined ? {} : { versions }),
        ...(placement === undefined ? {} : { placement }),
        records,
        setAside: (): Promise<MemoryRecordLog> => {
          this.aside.set(nodeId, disk);
          const fresh = new MemoryDisk();
          this.disks.set(nodeId, fresh);
          started.records = new MemoryRecordLog(fresh);
          return Promise.resolve(started.records);
        },
        appliedStore: store,
        transport: await this.#makeTransport(nodeId, incarnation),
        clock: realTime,
        timers: realTime,
        random: new SeededRandom(this.#starts),
        logger: silentLogger,
        counters,
        onFenced: () => {
          started.fenced = true;
        },
        onRemoved: () => {
          started.removed = true;
        },
        // As links do: whoever is out is refused, and told so.
        onPeersChange: (_peers, leftIds) => {
          for (const id of leftIds) {
            const left = this.nodes.get(id);
            if (left !== undefined && this.mesh.linked(nodeId, id)) left.removed = true;
          }
        },
        onFatal: (error) => {
          started.fatal = error;
        },
      }),
      incarnation,
      records,
      store,
      counters,
      fenced: false,
      removed: false,
      fatal: undefined,
    };
    this.nodes.set(nodeId, started);
    await started.node.start();
    return started;
  }

  /** Where a node's applied state is, once it has been started. */
  storePath(nodeId: string): string {
    return join(this.#folder ?? '', nodeId);
  }

  /** Lets a node in by a join token, as its administrator would, and starts it. */
  async join(nodeId: string): Promise<TestNode> {
    const by = [...this.nodes.keys()].find((id) => id !== nodeId) as string;
    const secretSha256 = createHash('sha256').update(nodeId).digest('hex');
    const atMs = Date.now();
    const expiresAtMs = atMs + 60_000;
    await this.#mustPropose(by, {
      type: 'createJoinToken',
      id: nodeId,
      secretSha256,
      atMs,
      expiresAtMs,
      by: 'test',
    });
    const { raftId } = (await this.#mustPropose(by, {
      type: 'addNode',
      nodeId,
      endpoints: testEndpoints(nodeId),
      secretSha256,
      keySha256: secretSha256,
      atMs,
    })) as { raftId: number };
    this.#joined.set(nodeId, { raftId, members: Object.values(this.get(by).node.state().nodes) });
    return await this.start(nodeId);
  }

  /** By any node that is there. */
  async remove(nodeId: string): Promise<void> {
    const by = [...this.nodes.keys()].find((id) => id !== nodeId) as string;
    await this.#mustPropose(by, { type: 'removeNode', nodeId, atMs: Date.now(), by: 'test' });
  }

  async #mustPropose(nodeId: string, command: Command): Promise<unknown> {
    const result = await this.propose(nodeId, command);
    if (!result.ok) throw new Error(`${command.type}: ${result.error.message}`);
    return result.value;
  }

  /** Ends a node as SIGKILL and a power loss would: what has not been synced is gone, but for `keep` records. */
  async crash(nodeId: string, keep = 0): Promise<void> {
    const node = this.get(nodeId);
    node.records.kill();
    this.nodes.delete(nodeId);
    this.disks.get(nodeId)?.crash(keep);
    await this.#dropTransport(nodeId);
    // The killed log answers nothing any more, so stopping cannot be waited for.
    void node.node.stop();
    await node.store.close();
  }

  /** Takes the applied state of a node that does not run away. */
  async forgetApplied(nodeId: string): Promise<void> {
    await rm(join(this.#folder ?? '', nodeId), { recursive: true, force: true });
  }

  get(nodeId: string): TestNode {
    const node = this.nodes.get(nodeId);
    if (node === undefined) throw new Error(`node ${nodeId} is not running`);
    return node;
  }

  /** The id of the one leader all running nodes agree on. */
  leader(): string | undefined {
    const running = [...this.nodes.values()].map((n) => n.node.status());
    const leaders = running.filter((s) => s.role === 'leader');
    const id = leaders[0]?.nodeId;
    return leaders.length === 1 && running.every((s) => s.leader === id) ? id : undefined;
  }

  async agreedLeader(withinMs?: number): Promise<string> {
    await eventually('all agree on a leader', () => this.leader() !== undefined, withinMs);
    return this.leader() as string;
  }

  follower(): string {
    const leader = this.leader();
    const follower = [...this.nodes.keys()].find((id) => id !== leader);
    if (follower === undefined) throw new Error('there is no follower');
    return follower;
  }

  /** Proposes, again where the answer says that nothing has happened. */
  async propose(nodeId: string, command: Command): Promise<CommandResult> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.get(nodeId).node.propose(command);
      } catch (error) {
        if (!(error instanceof OperationError) || error.kind !== 'unavailable' || tries > 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
  }

  async converged(withinMs?: number): Promise<void> {
    const text = (n: TestNode): string => canonicalText(n.node.state());
    await eventually(
      'all nodes have the same state',
      () => {
        const nodes = [...this.nodes.values()];
        const first = nodes[0];
        const at = first?.node.status().appliedIndex;
        return (
          first !== undefined &&
          nodes.every((n) => n.node.status().appliedIndex === at && text(n) === text(first))
        );
      },
      withinMs,
    );
  }

  async stopAll(): Promise<void> {
    for (const [id, { node, store }] of this.nodes) {
      await node.stop();
      await store.close();
      await this.#dropTransport(id);
    }
    this.nodes.clear();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

/** JSON with its keys in order: a state read back from disk has them in another one. */
function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
