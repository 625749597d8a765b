import type { CancelTimer, Clock, Timers } from '../base/clock.ts';
import type { Counters } from '../base/counters.ts';
import { describeError, invariant, OperationError, ProtocolError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerIdentity, PeerTransport } from '../base/peer-transport.ts';
import type { RandomSource } from '../base/random.ts';
import type { RecordLog } from '../base/record-log.ts';
import { AppendThread } from './append-thread.ts';
import { Contacts } from './contacts.ts';
import {
  DISK_STALL_MS,
  ELECTION_TICKS,
  HEARTBEAT_TICKS,
  MAX_COMMAND_BYTES,
  MAX_COMMITTED_PER_READY_BYTES,
  MAX_ENTRIES_PER_MESSAGE_BYTES,
  MAX_INFLIGHT_BYTES,
  MAX_INFLIGHT_MESSAGES,
  MAX_SNAPSHOT_BYTES,
  MAX_UNCOMMITTED_BYTES,
  TICK_MS,
} from './limits.ts';
import type { LogConsumer, LogEntry, LogPosition, ReplicatedLog } from './log.ts';
import {
  decodePeerMessage,
  encodeDropped,
  encodePropose,
  type PeerMessage,
  RAFT_KIND,
} from './peer-message.ts';
import { failure, Proposals, proposalHeader } from './proposals.ts';
import {
  type Entry,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  NO_NODE,
  type RaftStatus,
  RawNode,
  type Snapshot,
} from './raft/index.ts';
import { encodeRaftMessage } from './raft-codec.ts';
import { type LogBounds, RaftStore } from './raft-store.ts';
import { Reads } from './reads.ts';

export interface RaftLogOptions {
  readonly nodeId: string;
  /** All members, this node included; the same on every node and for ever. */
  readonly members: readonly { readonly nodeId: string; readonly raftId: number }[];
  /** Where term, vote and entries are kept; closed by its owner, after stop. */
  readonly records: RecordLog;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  /** When to compact; default: see limits.ts. */
  readonly logBounds?: LogBounds;
  /** Called at each tick, after Raft's. */
  readonly onTick: () => void;
  /** The disk has failed. The process is to end: nothing is known of what is on it. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * The embedded engine: drives a RawNode by a timer and by messages, and carries out what it asks for. It
 * decides nothing itself. All work on the RawNode happens in #drain, once per turn however much came in.
 */
export class RaftLog implements ReplicatedLog {
  readonly #options: RaftLogOptions;
  readonly #raftId: number;
  readonly #nodeIds: ReadonlyMap<number, string>;
  readonly #raftIds: ReadonlyMap<string, number>;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly contacts = new Contacts();
  #running: Running | undefined;
  #cancelTick: CancelTimer = () => {};
  #draining = false;
  #drainQueued = false;
  #stopped = false;
  #compacting: Promise<void> | undefined;
  #stallReported = false;
  #appliedTerm = 0;

  constructor(options: RaftLogOptions) {
    this.#options = options;
    const { members, nodeId, random, timers } = options;
    this.#nodeIds = new Map(members.map((m) => [m.raftId, m.nodeId]));
    this.#raftIds = new Map(members.map((m) => [m.nodeId, m.raftId]));
    const raftId = this.#raftIds.get(nodeId);
    invariant(raftId !== undefined, `node ${nodeId} is no member`);
    this.#raftId = raftId;
    this.#proposals = new Proposals(raftId, random, timers);
    this.#reads = new Reads(timers, random, (context) => {
      this.#running?.raw.readIndex(context);
      this.#queueDrain();
    });
    options.transport.onMessage((from, bytes) => this.#receive(from, bytes));
    options.transport.onLinkChange((peer, up) => {
      const id = this.#raftIds.get(peer.nodeId);
      if (up || id === undefined) return;
      this.#running?.raw.reportUnreachable(id);
      this.#queueDrain();
    });
  }

  async start(consumer: LogConsumer): Promise<void> {
    const { members, records, logger, logBounds } = this.#options;
    const voters = members.map((m) => m.raftId).sort((a, b) => a - b);
    const store = await RaftStore.open(
      records,
      {
        voters,
        learners: [],
        votersOutgoing: [],
        learnersNext: [],
        autoLeave: false,
      },
      logBounds,
    );
    const missing = store.resumeAt(consumer.position);
    if (missing !== undefined) consumer.restore(missing.data, missing.index);
    store.setSnapshotSource(() => this.#makeSnapshot(store, consumer));
    const applied = consumer.position;
    const running: Running = {
      consumer,
      store,
      raw: this.#makeNode(store, Math.max(applied, missing?.index ?? 0)),
      appends: new AppendThread(store, this.#options, {
        received: ({ metadata, data }) => {
          consumer.restore(data, metadata.index);
          running.appliedIndex = metadata.index;
          this.#proposals.skippedTo(metadata.term);
        },
        written: (responses) => this.#deliver(responses),
        failed: (error) => {
          logger.error('cluster.log.failed', { message: describeError(error) });
          this.#options.onFatal(error);
        },
      }),
      appliedIndex: Math.max(applied, missing?.index ?? 0),
    };
    this.#running = running;
    this.#scheduleTick();
    this.#queueDrain();
  }

  #makeNode(store: RaftStore, applied: number): RawNode {
    return new RawNode({
      id: this.#raftId,
      electionTick: ELECTION_TICKS,
      heartbeatTick: HEARTBEAT_TICKS,
      storage: store,
      applied,
      asyncStorageWrites: true,
      maxSizePerMessageBytes: MAX_ENTRIES_PER_MESSAGE_BYTES,
      maxCommittedSizePerReadyBytes: MAX_COMMITTED_PER_READY_BYTES,
      maxUncommittedEntriesBytes: MAX_UNCOMMITTED_BYTES,
      maxInflightMessages: MAX_INFLIGHT_MESSAGES,
      maxInflightBytes: MAX_INFLIGHT_BYTES,
      checkQuorum: true,
      preVote: true,
      readOnlyOption: 'safe',
      // A proposal is forwarded by us, tied to the leader's term, so that its fate can be known.
      disableProposalForwarding: true,
      disableConfChangeValidation: false,
      stepDownOnRemoval: true,
      random: (bound) => this.#options.random.below(bound),
      trace: ({ event, ...fields }) => this.#options.logger.debug(`raft.${event}`, fields),
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTick();
    this.#reads.stop();
    this.#proposals.stop();
    await this.#running?.appends.stop();
    await this.#compacting;
  }

  /** Undefined before start. */
  status(): RaftStatus | undefined {
    return this.#running?.raw.status();
  }

  nodeIdOf(raftId: number): string | undefined {
    return this.#nodeIds.get(raftId);
  }

  async append(bytes: Uint8Array): Promise<LogPosition> {
    if (bytes.length > MAX_COMMAND_BYTES) {
      throw new OperationError(`a command of ${bytes.length} bytes`, {
        kind: 'too-large',
        code: 'command-too-large',
        got: bytes.length,
        accepted: `at most ${MAX_COMMAND_BYTES} bytes`,
      });
    }
    const running = this.#running;
    if (running === undefined || this.#stopped) throw noLeader('this node is not running');
    const { role, leader, hardState } = running.raw.status();
    if (leader === NO_NODE) throw noLeader('the cluster has no leader at the moment');
    const { counter, data } = this.#proposals.wrap(bytes);
    if (role === 'leader') {
      const proposed = running.raw.propose(data);
      if (proposed.outcome === 'dropped') throw noLeader(`the leader took no change: ${proposed.reason}`);
      this.#queueDrain();
    } else {
      const to = this.#nodeIds.get(leader) ?? '';
      const sent = this.#options.transport.send(to, encodePropose(counter, hardState.term, data));
      if (!sent)
        throw noLeader(`the leader, node ${to}, cannot be reached from node ${this.#options.nodeId}`);
    }
    return await this.#proposals.outcome(counter, hardState.term);
  }

  async tail(): Promise<LogPosition> {
    if (this.#running === undefined || this.#stopped) throw noLeader('this node is not running');
    return await this.#reads.tail();
  }

  trim(position: LogPosition): void {
    const store = this.#running?.store;
    if (store === undefined || !store.isLong || this.#compacting !== undefined || this.#stopped) return;
    this.#compacting = this.#compact(store, position).finally(() => {
      this.#compacting = undefined;
    });
  }

  async #compact(store: RaftStore, position: LogPosition): Promise<void> {
    try {
      await store.compact(position);
      this.#options.counters.add('cluster.log.compacted');
    } catch (error) {
      // A failed device is found out by the next write as well; a full one may be given room.
      this.#options.logger.error('cluster.log.compaction-failed', { message: describeError(error) });
    }
  }

  #scheduleTick(): void {
    const { timers, clock } = this.#options;
    this.#cancelTick = timers.setTimer(TICK_MS, () => {
      if (this.#stopped) return;
      this.#scheduleTick();
      this.contacts.tick(clock.monotonicMs());
      this.#running?.raw.tick();
      this.#watchDisk();
      this.#drain();
      this.#options.onTick();
    });
  }

  /** A leader whose disk stands still hands on to the member that has most of the log. */
  #watchDisk(): void {
    const running = this.#running;
    if (running === undefined) return;
    const stalledMs = running.appends.stalledMs();
    if (stalledMs < DISK_STALL_MS) {
      this.#stallReported = false;
      return;
    }
    if (!this.#stallReported) this.#options.logger.error('cluster.log.stalled', { stalledMs });
    this.#stallReported = true;
    const { role, progress, leadTransferee } = running.raw.status();
    if (role !== 'leader' || leadTransferee !== NO_NODE) return;
    const best = progress
      .filter((p) => p.id !== this.#raftId && p.recentActive)
      .sort((a, b) => b.match - a.match)[0];
    if (best !== undefined) running.raw.transferLeader(best.id);
  }

  /** Carries out what Raft asks for before the present turn of the event loop ends. */
  #queueDrain(): void {
    if (this.#drainQueued) return;
    this.#drainQueued = true;
    queueMicrotask(() => {
      this.#drainQueued = false;
      this.#drain();
    });
  }

  #drain(): void {
    const running = this.#running;
    if (running === undefined || this.#draining || this.#stopped) return;
    this.#draining = true;
    try {
      while (running.raw.hasReady()) {
        const ready = running.raw.ready();
        if (ready.softState !== undefined) this.#roleChanged(ready.softState.role === 'leader');
        for (const { requestContext, index } of ready.readStates) this.#reads.answered(requestContext, index);
        for (const message of ready.messages) this.#dispatch(running, message);
      }
    } finally {
      this.#draining = false;
    }
  }

  #roleChanged(leading: boolean): void {
    const status = this.status();
    const leader = this.#nodeIds.get(status?.leader ?? NO_NODE);
    this.contacts.leads(leading, leader);
    this.#options.logger.info('cluster.role', {
      role: status?.role,
      leader,
      term: status?.hardState.term,
    });
  }

  #dispatch(running: Running, message: Message): void {
    if (message.to === LOCAL_APPEND_THREAD) running.appends.push(message);
    else if (message.to === LOCAL_APPLY_THREAD) this.#apply(running, message);
    else if (message.to === this.#raftId) running.raw.step(message);
    else this.#send(running, message);
  }

  /** Raft's promises may go out: what they rest on is durable. */
  #deliver(responses: readonly Message[]): void {
    const running = this.#running;
    if (running === undefined || this.#stopped) return;
    for (const message of responses) this.#dispatch(running, message);
    this.#queueDrain();
  }

  #send(running: Running, message: Message): void {
    const to = this.#nodeIds.get(message.to);
    const bytes = encodeRaftMessage(message);
    const sent =
      to !== undefined && bytes !== undefined && this.#options.transport.send(to, [RAFT_KIND, bytes]);
    if (message.type === 'MsgSnap') running.raw.reportSnapshot(message.to, sent ? 'finish' : 'failure');
    else if (!sent && message.type === 'MsgApp') running.raw.reportUnreachable(message.to);
  }

  #apply(running: Running, { entries = [], responses = [] }: Message): void {
    const given: LogEntry[] = [];
    const own: { readonly counter: bigint; readonly position: LogPosition }[] = [];
    for (const entry of entries) {
      if (!this.#hasContent(entry)) continue;
      const counter = this.#proposals.awaited(entry.data);
      if (counter !== undefined) own.push({ counter, position: entry.index });
      const bytes = entry.data.subarray(proposalHeader.sizeBytes);
      given.push({ position: entry.index, bytes, awaited: counter !== undefined });
    }
    const last = entries.at(-1);
    if (last !== undefined) {
      running.appliedIndex = last.index;
      running.consumer.apply(given, last.index);
      for (const { counter, position } of own) this.#proposals.applied(counter, position);
      if (last.term > this.#appliedTerm) this.#proposals.reachedTerm(last.term);
      this.#appliedTerm = Math.max(this.#appliedTerm, last.term);
    }
    for (const response of responses) this.#dispatch(running, response);
  }

  #hasContent(entry: Entry): boolean {
    if (entry.type !== 'normal') {
      // Members are fixed; nobody proposes to change them, and who did would have no effect.
      this.#options.logger.error('cluster.log.membership-ignored', { index: entry.index });
      return false;
    }
    return entry.data.length >= proposalHeader.sizeBytes;
  }

  #makeSnapshot(store: RaftStore, consumer: LogConsumer): Snapshot | undefined {
    const index = this.#running?.appliedIndex ?? 0;
    const term = store.term(index);
    const data = consumer.snapshot();
    if (data === undefined || typeof term !== 'number') return undefined;
    if (data.length > MAX_SNAPSHOT_BYTES) {
      this.#options.logger.error('cluster.snapshot.too-large', { sizeBytes: data.length });
      return undefined;
    }
    return { metadata: { index, term, confState: store.initialState().confState }, data };
  }

  #receive(from: PeerIdentity, bytes: Uint8Array): void {
    const running = this.#running;
    const sender = this.#raftIds.get(from.nodeId);
    if (running === undefined || sender === undefined || this.#stopped) return;
    let message: PeerMessage;
    try {
      message = decodePeerMessage(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.counters.add('cluster.malformed');
      return;
    }
    this.contacts.heard(from);
    switch (message.kind) {
      case 'raft':
        // Nobody speaks for another node.
        if (message.message.from === sender && message.message.to === this.#raftId) {
          running.raw.step(message.message);
          this.#queueDrain();
        } else this.#options.counters.add('cluster.malformed');
        return;
      case 'propose':
        this.#proposeFor(running, from, message);
        return;
      case 'dropped':
        this.#proposals.fail(message.counter, 'unavailable', 'no-leader', `not taken: ${message.reason}`);
    }
  }

  #proposeFor(
    running: Running,
    from: PeerIdentity,
    { counter, term, data }: Extract<PeerMessage, { kind: 'propose' }>,
  ): void {
    const { role, hardState } = running.raw.status();
    let reason = 'this node does not lead in that term';
    if (data.length > proposalHeader.sizeBytes + MAX_COMMAND_BYTES) {
      reason = 'it is too large';
    } else if (role === 'leader' && hardState.term === term) {
      const proposed = running.raw.propose(data);
      this.#queueDrain();
      if (proposed.outcome === 'accepted') return;
      ({ reason } = proposed);
    }
    this.#options.transport.send(from.nodeId, encodeDropped(counter, reason));
  }
}

interface Running {
  readonly raw: RawNode;
  readonly store: RaftStore;
  readonly appends: AppendThread;
  readonly consumer: LogConsumer;
  appliedIndex: number;
}

function noLeader(message: string): OperationError {
  return failure('unavailable', 'no-leader', message);
}
