import type { CancelTimer, Clock, Timers } from '../base/clock.ts';
import type { Counters } from '../base/counters.ts';
import { describeError, invariant, OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import type { RandomSource } from '../base/random.ts';
import type { RecordLog } from '../base/record-log.ts';
import type { AppliedStore } from './applied-store.ts';
import { nodesToFence } from './fencing.ts';
import { FENCE_RETRY_MS, READ_TIMEOUT_MS, REGISTER_RETRY_MS } from './limits.ts';
import type { ClusterStatus, ClusterView, PeerStatus } from './ports.ts';
import { failure } from './proposals.ts';
import { NO_NODE, type RaftStatus } from './raft/index.ts';
import { RaftLog } from './raft-log.ts';
import type { LogBounds } from './raft-store.ts';
import type { Command, CommandResult } from './state/commands.ts';
import type { ClusterState, NodeEndpoints, NodeId } from './state/model.ts';
import { encodeCommand, StateMachine } from './state-machine.ts';

export interface ClusterNodeOptions {
  readonly nodeId: NodeId;
  /** Differs at each start. */
  readonly incarnation: string;
  readonly endpoints: NodeEndpoints;
  /** Where a new cluster begins, the same on every node; also says who the members are. */
  readonly genesis: ClusterState;
  /** Both belong to this node alone; closed by their owner, after stop. */
  readonly records: RecordLog;
  readonly appliedStore: AppliedStore;
  /** Its message handler becomes this node's. */
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  /** When to compact the log; default: see limits.ts. */
  readonly logBounds?: LogBounds;
  /** This incarnation's word no longer counts: stop serving at once and start as another one. Called once. */
  readonly onFenced: () => void;
  /** A disk has failed: the process is to end. */
  readonly onFatal: (error: unknown) => void;
}

/** One node's part in the cluster log, and the configuration built from it. */
export class ClusterNode implements ClusterView {
  readonly nodeId: NodeId;
  /** Resolves once the cluster has taken note of this start; rejects when it never will. */
  readonly registered: Promise<void>;
  readonly #options: ClusterNodeOptions;
  readonly #log: RaftLog;
  #machine: StateMachine | undefined;
  #markRegistered: () => void = () => {};
  #failRegistered: (error: Error) => void = () => {};
  #isRegistered = false;
  #isFenced = false;
  #stopped = false;
  #cancelRetry: CancelTimer = () => {};
  /** When each fencing was proposed, by node and incarnation. */
  readonly #fencing = new Map<string, number>();

  constructor(options: ClusterNodeOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.#log = new RaftLog({
      ...options,
      members: Object.values(options.genesis.nodes),
      onTick: () => this.#fenceSilentNodes(),
    });
    this.registered = new Promise((resolve, reject) => {
      this.#markRegistered = resolve;
      this.#failRegistered = reject;
    });
    // Whoever does not wait for it learns of a failure from the log.
    this.registered.catch(() => {});
  }

  /**
   * Reads back what is on disk and begins to take part.
   * @throws LogCorruptionError, OperationError code "foreign-data"; the node must then not take part
   */
  async start(): Promise<void> {
    const { appliedStore, genesis, onFatal, logger, timers } = this.#options;
    const machine = await StateMachine.load(appliedStore, genesis, {
      timers,
      persisted: (position) => this.#log.trim(position),
      failed: (error) => {
        logger.error('cluster.applied.failed', { message: describeError(error) });
        onFatal(error);
      },
    });
    this.#machine = machine;
    machine.subscribe(() => this.#checkFenced());
    await this.#log.start(machine);
    this.#register();
  }

  /** Takes no further part; what is under way ends as unavailable or of unknown outcome. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry();
    this.#failRegistered(failure('unavailable', 'stopping', 'this node is stopping'));
    await this.#log.stop();
    await this.#machine?.stop();
  }

  get #started(): StateMachine {
    invariant(this.#machine !== undefined, 'the cluster node has been started');
    return this.#machine;
  }

  state(): ClusterState {
    return this.#started.state;
  }

  subscribe(listener: (state: ClusterState) => void): () => void {
    return this.#started.subscribe(listener);
  }

  async linearizableState(): Promise<ClusterState> {
    const machine = this.#started;
    const position = await this.#log.tail();
    await new Promise<void>((resolve, reject) => {
      let forget = (): void => {};
      const cancelTimer = this.#options.timers.setTimer(READ_TIMEOUT_MS, () => {
        forget();
        reject(failure('unavailable', 'behind', 'this node is behind the cluster and is catching up'));
      });
      forget = machine.whenApplied(position, () => {
        cancelTimer();
        resolve();
      });
    });
    return machine.state;
  }

  async propose(command: Command): Promise<CommandResult> {
    const machine = this.#started;
    const position = await this.#log.append(encodeCommand(command));
    return machine.takeResult(position);
  }

  status(): ClusterStatus {
    const raft = this.#log.status();
    const disk = this.#log.diskLatency();
    if (raft === undefined || disk === undefined) {
      const noWrites = { samples: 0, p50Ms: undefined, p99Ms: undefined, underWayMs: 0 };
      const nothing = { term: 0, commitIndex: 0, appliedIndex: 0, lastIndex: 0, disk: noWrites, peers: [] };
      return { nodeId: this.nodeId, role: 'follower', leader: undefined, ...nothing };
    }
    return {
      nodeId: this.nodeId,
      role: raft.role === 'preCandidate' ? 'pre-candidate' : raft.role,
      leader: raft.leader === NO_NODE ? undefined : this.#log.nodeIdOf(raft.leader),
      term: raft.hardState.term,
      commitIndex: raft.hardState.commit,
      appliedIndex: this.#started.appliedPosition,
      lastIndex: raft.lastIndex,
      disk,
      peers: this.#peers(raft),
    };
  }

  #peers({ progress, hardState }: RaftStatus): PeerStatus[] {
    const others = Object.values(this.#options.genesis.nodes).filter((n) => n.nodeId !== this.nodeId);
    return others.map(({ nodeId, raftId }) => {
      const match = progress.find((p) => p.id === raftId)?.match;
      return {
        nodeId,
        linkUp: this.#options.transport.isUp(nodeId),
        matchIndex: match,
        lagEntries: match === undefined ? undefined : Math.max(0, hardState.commit - match),
        lastContactMs: this.#log.contacts.sinceMs(nodeId),
      };
    });
  }

  /** Proposes this start until it is known what became of it. */
  #register(): void {
    const { incarnation, endpoints, timers } = this.#options;
    const command: Command = { type: 'registerNode', nodeId: this.nodeId, incarnation, endpoints };
    this.propose(command).then(
      (result) => this.#registrationEnded(result),
      (error: unknown) => {
        if (this.#stopped) return;
        if (!(error instanceof OperationError)) throw error;
        this.#cancelRetry = timers.setTimer(REGISTER_RETRY_MS, () => this.#register());
      },
    );
  }

  #registrationEnded(result: CommandResult): void {
    if (result.ok) {
      this.#isRegistered = true;
      this.#options.logger.info('cluster.registered', { incarnation: this.#options.incarnation });
      this.#markRegistered();
      this.#checkFenced();
      return;
    }
    const { message, kind, code } = result.error;
    this.#options.logger.error('cluster.registration-refused', { message, code });
    this.#failRegistered(new OperationError(message, { kind, code }));
    if (code === 'incarnation-fenced') this.#fenced();
  }

  /** Fenced, or another process has registered as this node: either way our word no longer counts. */
  #checkFenced(): void {
    const { incarnation } = this.#options;
    const record = this.state().nodes[this.nodeId];
    const ours = record?.incarnation === incarnation;
    if (ours ? record.status === 'fenced' : this.#isRegistered) this.#fenced();
  }

  #fenced(): void {
    if (this.#isFenced || this.#stopped) return;
    this.#isFenced = true;
    this.#options.logger.warn('cluster.fenced', { incarnation: this.#options.incarnation });
    this.#options.onFenced();
  }

  #fenceSilentNodes(): void {
    const { contacts } = this.#log;
    const nowMs = this.#options.clock.monotonicMs();
    const { transport } = this.#options;
    const silent = nodesToFence(
      this.state(),
      this.nodeId,
      (id, inc) => contacts.silentMs(id, inc),
      (id) => transport.isAbsent(id),
    );
    for (const { nodeId, incarnation } of silent) {
      const key = `${nodeId} ${incarnation}`;
      if (nowMs - (this.#fencing.get(key) ?? Number.NEGATIVE_INFINITY) < FENCE_RETRY_MS) continue;
      this.#fencing.set(key, nowMs);
      const silentMs = Math.round(contacts.silentMs(nodeId, incarnation || undefined) ?? 0);
      const reason = `not heard from for ${silentMs} ms${transport.isAbsent(nodeId) ? ', its process is gone' : ''}`;
      this.#options.logger.warn('cluster.fencing', { nodeId, incarnation, reason });
      this.propose({ type: 'fenceNode', nodeId, incarnation, reason }).catch((error: unknown) => {
        if (!(error instanceof OperationError)) throw error;
        this.#options.logger.warn('cluster.fencing-failed', { nodeId, message: error.message });
      });
    }
    // Fencings of incarnations gone by are of no further use.
    if (silent.length === 0) this.#fencing.clear();
  }
}
