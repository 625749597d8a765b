import type { CancelTimer } from '../base/clock.ts';
import { describeError, type OperationError } from '../base/errors.ts';
import type { PeerIdentity } from '../base/peer-transport.ts';
import { LogCorruptionError } from '../base/record-log.ts';
import { whenStepEnds } from '../base/step.ts';
import { AppendThread } from './append-thread.ts';
import { Compaction } from './compaction.ts';
import { Contacts } from './contacts.ts';
import type { DiskLatency } from './disk-latency.ts';
import { DiskWatch } from './disk-watch.ts';
import { EntryFeed } from './entry-feed.ts';
import { handOn } from './hand-on.ts';
import { LeaderLoss } from './leader-loss.ts';
import { TICK_MS } from './limits.ts';
import type { LogConsumer, LogPosition, ReplicatedLog } from './log.ts';
import { PeerInbox } from './peer-inbox.ts';
import { PeerOutbox } from './peer-outbox.ts';
import { ProposalIntake } from './proposal-intake.ts';
import { failure, noLeader, Proposals } from './proposals.ts';
import {
  decodeConfChange,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  NO_NODE,
  type RaftStatus,
  type RawNode,
} from './raft/index.ts';
import { type MemberList, RaftMembers } from './raft-members.ts';
import { makeRawNode } from './raft-node.ts';
import { openStore, type RaftLogOptions, refuseAlone } from './raft-start.ts';
import type { RaftStore } from './raft-store.ts';
import { Reads } from './reads.ts';
import { Refetch, type RefetchStatus } from './refetch.ts';
import { RefetchHelp } from './refetch-help.ts';
import { type ArrivedSnapshot, SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { SnapshotSource } from './snapshot-source.ts';

/**
 * The embedded engine: drives a RawNode by a timer and by messages, and carries out what it asks for. It
 * decides nothing itself. All work on the RawNode happens in #drain, once per turn however much came in.
 */
export class RaftLog implements ReplicatedLog {
  readonly #options: RaftLogOptions;
  readonly #raftId: number;
  readonly #members: RaftMembers;
  readonly #proposals: Proposals;
  readonly #intake: ProposalIntake;
  readonly #reads: Reads;
  readonly contacts = new Contacts();
  #running: Running | undefined;
  #refetch: Refetch | undefined;
  #cancelTick: CancelTimer = () => {};
  #draining = false;
  #drainQueued = false;
  #stopped = false;
  readonly #compaction: Compaction;

  constructor(options: RaftLogOptions) {
    this.#options = options;
    this.#compaction = new Compaction(options);
    const { nodeId, raftId, firstVoters, members, random, timers } = options;
    this.#raftId = raftId;
    this.#members = new RaftMembers({ nodeId, raftId }, firstVoters, members);
    this.#proposals = new Proposals(this.#raftId, random, timers);
    this.#intake = new ProposalIntake(options.transport, this.#proposals);
    this.#reads = new Reads(options.clock, timers, random, (context) => {
      this.#running?.raw.readIndex(context);
      this.#queueDrain();
    });
    options.transport.onMessage((from, bytes) => this.#receive(from, bytes));
    options.transport.onLinkChange((peer, up) => {
      const id = this.#members.raftIdOf(peer.nodeId);
      if (up) this.#running?.snapshotSender.linkUp(peer.nodeId);
      if (up || id === undefined) return;
      this.#running?.raw.reportUnreachable(id);
      this.#queueDrain();
    });
  }

  async start(consumer: LogConsumer): Promise<void> {
    const store = await openStore(this.#options, this.#members);
    if (store.lost === undefined) {
      try {
        const missing = store.resumeAt(consumer.position);
        if (missing !== undefined) consumer.restore(missing.data, missing.index);
        this.#run(store, consumer, Math.max(consumer.position, missing?.index ?? 0));
        return;
      } catch (error) {
        if (!(error instanceof LogCorruptionError)) throw error;
        refuseAlone(this.#members, error.message);
        await store.markLost(error.message);
      }
    }
    this.#refetchAll(store, consumer, store.lost ?? '');
  }

  #refetchAll(store: RaftStore, consumer: LogConsumer, reason: string): void {
    refuseAlone(this.#members, reason);
    this.#options.logger.error('cluster.refetch.begins', { reason });
    const failed = (error: unknown): void => this.#diskFailed(error);
    const receiver = new SnapshotReceiver(store, this.#options, {
      isKnown: () => false,
      arrived: (arrived) => refetch.arrived(arrived),
      failed,
    });
    const refetch = new Refetch({
      ...this.#options,
      reason,
      store,
      members: this.#members,
      receiver,
      failed,
      done: ({ snapshot: { metadata, data } }) => {
        if (this.#stopped) return;
        this.#refetch = undefined;
        consumer.restore(data, metadata.index);
        store.resumeAt(metadata.index);
        this.#run(store, consumer, metadata.index);
      },
    });
    this.#refetch = refetch;
    refetch.start();
  }

  /** @param applied the consumer has all entries up to here */
  #run(store: RaftStore, consumer: LogConsumer, applied: number): void {
    const { logger, counters, transport } = this.#options;
    const raw = makeRawNode(this.#raftId, store, applied, this.#options);
    const feed = new EntryFeed(consumer, this.#proposals, applied, (entry) => {
      // Every member changes at the same entry; RaftStore.confStateAt is how that is known after a restart.
      const confState = raw.applyConfChange(decodeConfChange(entry));
      logger.info('cluster.members', { index: entry.index, ...confState });
    });
    const source = new SnapshotSource(store, consumer, feed, logger);
    store.setSnapshotSource(() => source.make());
    const appends = new AppendThread(store, this.#options, {
      received: (snapshot) => feed.restore(snapshot),
      written: (responses) => this.#deliver(responses),
      failed: (error) => this.#diskFailed(error),
    });
    const snapshotSender = new SnapshotSender(this.#options);
    const snapshotReceiver = new SnapshotReceiver(store, this.#options, {
      isKnown: (index) => index <= raw.status().hardState.commit,
      arrived: (arrived) => this.#stepSnapshot(raw, arrived),
      failed: (error) => this.#diskFailed(error),
    });
    const help = new RefetchHelp({
      ...{ raw, source, sender: snapshotSender, transport, logger },
      tail: () => this.#reads.tail(),
    });
    const { timers } = this.#options;
    const stepped = (): void => this.#queueDrain();
    const outbox = new PeerOutbox({
      ...{ raw, members: this.#members, transport, snapshotSender, help, timers, stepped },
    });
    const inbox = new PeerInbox({
      help,
      snapshotSender,
      snapshotReceiver,
      raftId: this.#raftId,
      members: this.#members,
      raw,
      proposals: this.#proposals,
      intake: this.#intake,
      counters,
      heard: (from) => this.contacts.heard(from),
      stepped,
    });
    const diskWatch = new DiskWatch(raw, appends, this.#options);
    const leaderLoss = new LeaderLoss({
      ...{ raw, transport, members: this.#members, contacts: this.contacts },
      ...{ timers, stepped },
    });
    this.#running = { raw, store, appends, feed, inbox, outbox, snapshotSender, diskWatch, leaderLoss };
    this.#scheduleTick();
    this.#queueDrain();
  }

  #diskFailed(error: unknown): void {
    if (this.#stopped) return;
    this.#options.logger.error('cluster.log.failed', { message: describeError(error) });
    this.#options.onFatal(error);
  }

  #stepSnapshot(raw: RawNode, { nodeId, offer, snapshot }: ArrivedSnapshot): void {
    const from = this.#members.raftIdOf(nodeId);
    if (from === undefined || this.#stopped) return;
    raw.step({ type: 'MsgSnap', to: this.#raftId, from, term: offer.term, snapshot });
    this.#queueDrain();
  }

  /** That process has surely ended, as all members are told: if it led, another one is to. */
  peerEnded(peer: PeerIdentity): void {
    if (!this.#stopped) this.#running?.leaderLoss.ended(peer);
  }

  /** Lets another member lead, if this one does. */
  async handOn(): Promise<void> {
    const raw = this.#running?.raw;
    if (raw !== undefined && !this.#stopped) await handOn(raw, this.#options, () => this.#queueDrain());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#refetch?.stop();
    this.#cancelTick();
    this.#running?.outbox.stop();
    this.#reads.stop();
    this.#running?.leaderLoss.stop();
    this.#proposals.stop();
    await this.#running?.appends.stop();
    await this.#compaction.ended();
  }

  /** Undefined before start. */
  status(): RaftStatus | undefined {
    return this.#running?.raw.status();
  }

  /** Of this node's own disk. Undefined before start. */
  diskLatency(): DiskLatency | undefined {
    return this.#running?.appends.latency();
  }

  /** Undefined: nothing has been lost. */
  refetch(): RefetchStatus | undefined {
    return this.#refetch?.status;
  }

  nodeIdOf(raftId: number): string | undefined {
    return this.#members.nodeIdOf(raftId);
  }

  /** The members wanted from now on. Whoever leads makes Raft's own follow, step by step. */
  setMembers(list: MemberList): void {
    this.#members.update(list);
  }

  #reconcileMembers(): void {
    const { clock, transport } = this.#options;
    const raw = this.#running?.raw;
    if (raw === undefined) return;
    this.#members.reconcile(raw, clock.monotonicMs(), (nodeId) => transport.isUp(nodeId));
  }

  async append(bytes: Uint8Array): Promise<LogPosition> {
    const running = this.#running;
    if (running === undefined || this.#stopped) throw this.#notRunning();
    const { role, leader, term } = running.raw;
    if (leader === NO_NODE) throw noLeader('the cluster has no leader at the moment');
    const { counter, data } = this.#proposals.wrap(bytes);
    if (role === 'leader') this.#intake.take({ counter, term, data, from: undefined });
    else this.#intake.forward(this.#members.nodeIdOf(leader) ?? '', { counter, term, data });
    this.#queueDrain();
    return await this.#proposals.outcome(counter, term, bytes.length);
  }

  #notRunning(): OperationError {
    if (this.#refetch === undefined) return failure('unavailable', 'no-leader', 'this node is not running');
    const message = 'this node has lost data and takes no part before it has fetched it from the others';
    return failure('unavailable', 'no-leader', message);
  }

  async tail(): Promise<LogPosition> {
    if (this.#running === undefined || this.#stopped) throw this.#notRunning();
    return await this.#reads.tail();
  }

  trim(position: LogPosition): void {
    if (this.#running === undefined || this.#stopped) return;
    const { store, snapshotSender } = this.#running;
    this.#compaction.trim(store, position, snapshotSender);
  }

  #scheduleTick(): void {
    const { timers, clock } = this.#options;
    this.#cancelTick = timers.setTimer(TICK_MS, () => {
      if (this.#stopped) return;
      this.#scheduleTick();
      this.contacts.tick(clock.monotonicMs());
      this.#running?.leaderLoss.tick();
      this.#running?.raw.tick();
      this.#running?.diskWatch.tick();
      this.#running?.snapshotSender.tick();
      this.#reconcileMembers();
      this.#drain();
      this.#options.onTick();
    });
  }

  /** Carries out what Raft asks for before the present turn of the event loop ends. */
  #queueDrain(): void {
    if (this.#drainQueued) return;
    this.#drainQueued = true;
    whenStepEnds(() => {
      this.#drainQueued = false;
      this.#drain();
    });
  }

  #drain(): void {
    const running = this.#running;
    if (running === undefined || this.#draining || this.#stopped) return;
    this.#draining = true;
    try {
      this.#intake.flush(running.raw);
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
    const leader = this.#members.nodeIdOf(status?.leader ?? NO_NODE);
    this.contacts.leads(leading, leader);
    if (leading) this.#options.timers.setTimer(0, () => this.#stopped || this.#options.onTick());
    if (!leading) this.#running?.outbox.stopLeading();
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
    else running.outbox.send(message);
  }

  /** Raft's promises may go out: what they rest on is durable. */
  #deliver(responses: readonly Message[]): void {
    const running = this.#running;
    if (running === undefined || this.#stopped) return;
    for (const message of responses) this.#dispatch(running, message);
    this.#queueDrain();
  }

  #apply(running: Running, { entries = [], responses = [] }: Message): void {
    running.outbox.committed(entries);
    running.feed.apply(entries);
    for (const response of responses) this.#dispatch(running, response);
  }

  #receive(from: PeerIdentity, bytes: Uint8Array): void {
    if (this.#stopped) return;
    this.#running?.inbox.receive(from, bytes);
    this.#refetch?.receive(from.nodeId, bytes);
  }
}

interface Running {
  readonly raw: RawNode;
  readonly store: RaftStore;
  readonly appends: AppendThread;
  readonly feed: EntryFeed;
  readonly inbox: PeerInbox;
  readonly outbox: PeerOutbox;
  readonly snapshotSender: SnapshotSender;
  readonly diskWatch: DiskWatch;
  readonly leaderLoss: LeaderLoss;
}
