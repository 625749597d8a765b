import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import { createAuthority, createNodeCertificate } from '../../../node/setup/certificates.ts';
import { systemRandom } from '../../../node/system.ts';
import { LeanConnection } from './lean-connection.ts';
import type { NodeSettings } from './node-process.ts';
import { freePorts, Processes, untilTrue } from './processes.ts';
import {
  type KeyValueConnection,
  NODE_COUNT,
  type SyncCounts,
  type SystemUnderTest,
} from './system-under-test.ts';

const HOST = '127.0.0.1';
const NODE_PROCESS = fileURLToPath(new URL('./node-process.js', import.meta.url));
const CLUSTER_ID = 'bench-consensus';

interface NodeStatus {
  readonly role: string;
  readonly leader: string | undefined;
  readonly applied: number;
  readonly syncs: number;
}

export interface HowToRun {
  readonly name?: string;
  /** For node itself, such as --cpu-prof. */
  readonly nodeArguments?: readonly string[];
  /** Of another build. */
  readonly nodeProcess?: string;
}

/** Three processes with the product's own cluster log. */
export class OurCluster implements SystemUnderTest {
  readonly name: string;
  readonly #directory: string;
  readonly #engine: NodeSettings['engine'];
  readonly #processes: Processes;
  readonly #nodeArguments: readonly string[];
  #clientPorts: readonly number[] = [];
  #controls: (LeanConnection | undefined)[] = [];

  constructor(directory: string, engine: NodeSettings['engine'], how: HowToRun = {}) {
    this.name = how.name ?? (engine === 'product' ? 'bootfabric (real commands)' : 'bootfabric');
    this.#directory = directory;
    this.#engine = engine;
    this.#nodeArguments = [...(how.nodeArguments ?? []), how.nodeProcess ?? NODE_PROCESS];
    this.#processes = new Processes((node) => join(directory, `node${node}.log`));
  }

  get pids(): readonly number[] {
    return this.#processes.pids;
  }

  async start(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true });
    const ports = await freePorts(2 * NODE_COUNT);
    this.#clientPorts = ports.slice(NODE_COUNT);
    await this.#writeSettings(ports.slice(0, NODE_COUNT));
    for (let node = 0; node < NODE_COUNT; node++) this.#launch(node);
    await this.whole();
  }

  async stop(): Promise<void> {
    for (const control of this.#controls) control?.close();
    await this.#processes.stop();
  }

  async leader(): Promise<number> {
    const statuses = await this.#statuses();
    const leader = statuses.findIndex((status) => status?.role === 'leader');
    if (leader === -1) throw new Error('nobody leads');
    return leader;
  }

  async connect(node: number): Promise<KeyValueConnection> {
    return await LeanConnection.open(HOST, this.#clientPorts[node] ?? 0);
  }

  async syncs(): Promise<SyncCounts> {
    const statuses = await this.#statuses();
    return { log: statuses.reduce((sum, status) => sum + (status?.syncs ?? 0), 0) };
  }

  async kill(node: number): Promise<void> {
    this.#controls[node]?.close();
    this.#controls[node] = undefined;
    await this.#processes.kill(node);
  }

  restart(node: number): Promise<void> {
    this.#launch(node);
    return Promise.resolve();
  }

  async whole(): Promise<void> {
    await untilTrue('three nodes agree on a leader', async () => {
      this.#processes.check();
      const statuses = await this.#statuses();
      const leaders = new Set(statuses.map((status) => status?.leader));
      const applied = statuses.map((status) => status?.applied ?? -1);
      return leaders.size === 1 && !leaders.has(undefined) && Math.min(...applied) === Math.max(...applied);
    });
  }

  #launch(node: number): void {
    const settings = join(this.#directory, `node${node}.json`);
    this.#processes.start(node, process.execPath, [...this.#nodeArguments, settings]);
  }

  async #statuses(): Promise<(NodeStatus | undefined)[]> {
    return await Promise.all(
      Array.from({ length: NODE_COUNT }, async (_, node) => {
        try {
          this.#controls[node] ??= await LeanConnection.open(HOST, this.#clientPorts[node] ?? 0);
          return (await this.#controls[node].status()) as NodeStatus;
        } catch {
          this.#controls[node]?.close();
          this.#controls[node] = undefined;
          return undefined;
        }
      }),
    );
  }

  async #writeSettings(peerPorts: readonly number[]): Promise<void> {
    const time = { nowMs: Date.now() };
    const authority = createAuthority(CLUSTER_ID, time, systemRandom);
    const nodeIds = Array.from({ length: NODE_COUNT }, (_, node) => `n${node + 1}`);
    const endpoint = `${HOST}:1`;
    const genesis = makeGenesis({
      clusterId: CLUSTER_ID,
      clusterName: 'bench',
      settings: {
        dhcp: { mode: 'off', leaseSeconds: 3600 },
        iqnPrefix: 'iqn.2026-11.net.bootfabric:bench',
        fenceAfterMs: 900,
        leaseMs: 400,
      },
      nodes: nodeIds.map((nodeId, i) => ({
        nodeId,
        raftId: i + 1,
        endpoints: {
          peer: `${HOST}:${peerPorts[i]}`,
          replication: endpoint,
          api: endpoint,
          http: endpoint,
          tftp: endpoint,
          iscsi: endpoint,
        },
      })),
      portalGroups: [],
      tokens: [],
    });
    for (const [node, nodeId] of nodeIds.entries()) {
      const own = createNodeCertificate(
        authority,
        { nodeId, clusterId: CLUSTER_ID, addresses: [HOST] },
        time,
        systemRandom,
      );
      const settings: NodeSettings = {
        nodeId,
        directory: join(this.#directory, nodeId),
        engine: this.#engine,
        genesis,
        peerPorts: Object.fromEntries(nodeIds.map((id, i) => [id, peerPorts[i] ?? 0])),
        clientPort: this.#clientPorts[node] ?? 0,
        tls: { ca: authority.certificatePem, cert: own.certificatePem, key: own.privateKeyPem },
      };
      writeFileSync(join(this.#directory, `node${node}.json`), JSON.stringify(settings), { mode: 0o600 });
    }
  }
}
