import { OperationError } from '../../../base/errors.ts';
import type { Logger } from '../../../base/logger.ts';
import type { PeerIdentity, PeerTransport } from '../../../base/peer-transport.ts';
import type { ClusterNode } from '../../../cluster/cluster-node.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import type { ImageSource } from '../../../storage/image/image-source.ts';
import {
  DamagedCopyError,
  type ProposalOutcome,
  ReplicationHost,
} from '../../../storage/replication/index.ts';
import type { Host } from '../cluster/host.ts';
import type { Server } from '../replication/clients.ts';
import type { Process, World } from '../world.ts';
import { Copies } from './copies.ts';

export interface FabricNodeContext {
  readonly world: World;
  readonly counters: { add(name: string, by?: number): void; get(name: string): number };
  attach(process: Process): PeerTransport;
  logger(nodeId: string): Logger;
  fail(what: string): void;
  images(process: Process): ImageSource;
  /** Whether processes begin other lives of their directories while they run. */
  readonly renewsLives: boolean;
  /** Before a process looks at its node's copies. */
  starts(node: FabricNode): void;
  /** The data plane of a process has been set up. */
  began(node: FabricNode): void;
  /** A node has applied something. */
  stateChanged(): void;
}

/** The data plane of one server, beside its part in the cluster log: as node/portal puts the two together. */
export class FabricNode {
  readonly host: Host;
  readonly copies: Copies;
  readonly #context: FabricNodeContext;
  #serving: Server | undefined;

  constructor(context: FabricNodeContext, host: Host) {
    this.#context = context;
    this.host = host;
    this.copies = new Copies(host.nodeId);
  }

  get nodeId(): string {
    return this.host.nodeId;
  }

  /** What clients reach; undefined while no process runs. */
  get server(): Server | undefined {
    return this.#serving?.process.isAlive === true ? this.#serving : undefined;
  }

  /** As node/start-node.ts does: the data plane hears of it by a message to its thread. */
  peerEnded(peer: PeerIdentity): void {
    if (!this.host.isUp) return;
    const { server } = this;
    server?.process.enterAfter(this.#context.world.between(0, 2), () => server.host.peerEnded(peer));
    this.host.node?.peerEnded(peer);
  }

  /** A process has begun to take part in the cluster. */
  start(node: ClusterNode): void {
    const { process } = this.host;
    const { world, counters } = this.#context;
    const propose = (command: Command): Promise<ProposalOutcome> => this.#propose(process, node, command);
    const primary = this.nodeId;
    this.#context.starts(this);
    const replication = new ReplicationHost({
      nodeId: this.nodeId,
      incarnation: process.incarnation,
      transport: this.#context.attach(process),
      openLog: (group, _mustExist, verifyFrom) => this.copies.disk(group).openLog(process, verifyFrom),
      setAside: (group, processes) => {
        this.copies.setAside(group, processes);
        return Promise.resolve();
      },
      metaDirectory: this.copies.metaStore(process),
      checkpoints: this.copies.checkpointStore(process),
      images: this.#context.images(process),
      clock: process,
      timers: process,
      logger: this.#context.logger(this.nodeId),
      counters,
      proposeShrink: (group, epoch, remove) =>
        propose({ type: 'shrinkInSync', group, epoch, primary, remove }),
      proposeExpand: (group, epoch, add, incarnation) =>
        propose({ type: 'expandInSync', group, epoch, primary, add, incarnation }),
      proposeHandOver: (group, epoch) => propose({ type: 'handOverGroup', group, epoch, primary }),
      onFatal: (error) => {
        if (!process.isAlive) return;
        if (error instanceof DamagedCopyError) this.host.end('exit');
        else this.#context.fail(`${process.incarnation} ends: ${(error as Error).stack}`);
      },
      trim: {
        checkMs: 100,
        growthBytes: 50_000,
        slackBytes: 40_000,
        checkpointBytes: 30_000,
        holdMs: 200,
        nearRecords: 4,
      },
    });
    this.#serving = { process, host: replication };
    // The data plane has a thread of its own: it hears of changes a moment later, of the newest alone.
    let latest = node.state();
    let isTold = true;
    const tell = (): void => {
      isTold = true;
      replication.applyClusterState(replicationState(latest));
    };
    const changed = (state: ClusterState): void => {
      latest = state;
      this.#context.stateChanged();
      if (!isTold) return;
      isTold = false;
      process.enterAfter(world.between(0, 3), tell);
    };
    void replication.start();
    this.#context.began(this);
    if (this.#context.renewsLives) this.#renewLives(process, node, replication, new Map());
    node.subscribe(changed);
    changed(latest);
  }

  /** As node/life-renewal.ts does, and far more often. */
  #renewLives(
    process: Process,
    node: ClusterNode,
    replication: ReplicationHost,
    ends: Map<string, number>,
  ): void {
    process.setTimer(this.#context.world.between(300, 1_200), () => {
      const written = Object.keys(node.state().portalGroups).filter((id) => {
        const nextIndex = replication.group(id)?.status().nextIndex;
        const isWritten = nextIndex !== undefined && nextIndex !== ends.get(id);
        if (isWritten) ends.set(id, nextIndex);
        return isWritten;
      });
      void node.renewLives(written).then(() => this.#renewLives(process, node, replication, ends));
    });
  }

  /** As node/portal/worker-client.ts does. */
  async #propose(process: Process, node: ClusterNode, command: Command): Promise<ProposalOutcome> {
    const { world } = this.#context;
    const hop = (): Promise<void> =>
      new Promise((resolve) => {
        process.enterAfter(world.between(0, 2), resolve);
      });
    await hop();
    let outcome: ProposalOutcome;
    try {
      outcome = (await node.propose(command)).ok ? 'applied' : 'refused';
    } catch (error) {
      const certain = error instanceof OperationError && error.kind !== 'unknown-outcome';
      outcome = certain ? 'not-applied' : 'unknown';
    }
    await hop();
    return outcome;
  }
}

function replicationState(state: ClusterState): Parameters<ReplicationHost['applyClusterState']>[0] {
  return {
    groups: Object.values(state.portalGroups),
    nodes: Object.values(state.nodes),
    leaseMs: state.settings.leaseMs,
  };
}
