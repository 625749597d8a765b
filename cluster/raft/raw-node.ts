import { invariant } from '../../base/errors.ts';
import { asConfChange, encodeConfChange } from './conf-change-codec.ts';
import type { ProposedConfChange } from './conf-change-types.ts';
import { confStateOf, voterIds } from './configuration.ts';
import { applyConfChange, restoreConfState } from './membership.ts';
import { isAnswer, isLocalMessage, isLocalThread, isMalformed } from './message-kinds.ts';
import type { RaftConfig } from './raft-config.ts';
import { type ProposedEntry, RaftCore } from './raft-core.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { ProposalResult, RaftStatus, StepOutcome } from './status.ts';
import { step, tick } from './step.ts';
import { type ConfState, type Message, NO_NODE, type Ready, type SoftState } from './types.ts';

/**
 * One node of a Raft group, without clock, network or disk of its own.
 *
 * Its owner calls tick() at a steady pace, step() for each message that arrives, and after each of these, as
 * long as hasReady(), carries out what ready() says:
 *
 * - asyncStorageWrites: every message goes where it is addressed. MsgStorageAppend and MsgStorageApply are for
 *   the owner's own disk and state machine; their responses are delivered (step() when to this node) once the
 *   write is durable. Those for one thread keep their order; nothing may be dropped. A MsgStorageAppend
 *   without responses need not be made durable.
 * - otherwise: write snapshot, entries and hardState (durably when mustSync), then send messages, apply
 *   committedEntries, then call advance() before the next ready().
 *
 * Configuration changes among committed entries are reported back by applyConfChange().
 */
export class RawNode {
  readonly #core: RaftCore;
  readonly #ready: ReadyQueue;

  /** @throws InvariantError for a config that cannot work, or storage that contradicts itself */
  constructor(config: RaftConfig) {
    checkConfig(config);
    this.#core = new RaftCore(config);
    start(this.#core);
    this.#ready = new ReadyQueue(this.#core);
  }

  tick(): void {
    tick(this.#core);
  }

  /** Starts an election now, with a pre-vote first when that is configured. */
  campaign(): void {
    this.#local('MsgHup', NO_NODE);
  }

  propose(data: Uint8Array): ProposalResult {
    return this.#propose([{ type: 'normal', data }]);
  }

  /** Proposes entries that are to follow each other; all are accepted, or none. */
  proposeAll(data: readonly Uint8Array[]): ProposalResult {
    return this.#propose(data.map((bytes) => ({ type: 'normal', data: bytes })));
  }

  /** A change that may not go ahead now is accepted all the same, and becomes an entry with no effect. */
  proposeConfChange(change: ProposedConfChange): ProposalResult {
    return this.#propose([encodeConfChange(change)]);
  }

  #propose(proposed: readonly ProposedEntry[]): ProposalResult {
    const { id } = this.#core;
    const entries = proposed.map(({ type, data }) => ({ type, data, term: 0, index: 0 }));
    return step(this.#core, { type: 'MsgProp', to: id, from: id, entries });
  }

  /**
   * To be called for each committed configuration change, when it is applied; a change the application
   * refuses is not reported, or with all its node ids NO_NODE.
   * @returns the configuration now in force, to be kept in snapshots
   */
  applyConfChange(change: ProposedConfChange): ConfState {
    return applyConfChange(this.#core, asConfChange(change));
  }

  /** Takes a message from a peer or from a local thread. What makes no sense is ignored, and said so. */
  step(message: Message): StepOutcome {
    const local = isLocalThread(message.from);
    if (isLocalMessage(message.type) && !local) return { outcome: 'ignored', reason: 'localMessage' };
    if (isAnswer(message.type) && !local && !this.#core.tracker.progress.has(message.from)) {
      return { outcome: 'ignored', reason: 'unknownPeer' };
    }
    if (isMalformed(message)) return { outcome: 'ignored', reason: 'malformed' };
    return step(this.#core, message);
  }

  hasReady(): boolean {
    return this.#ready.hasReady();
  }

  /** What to do next. Everything in it counts as being carried out from now on. */
  ready(): Ready {
    return this.#ready.take();
  }

  /** The last ready() has been carried out. Not with asyncStorageWrites, where responses say so. */
  advance(): void {
    this.#ready.advance();
  }

  /** Asks for an index which, once applied, makes a read linearizable; it comes in Ready.readStates, or never. */
  readIndex(context: Uint8Array): void {
    step(this.#core, { type: 'MsgReadIndex', to: this.#core.id, from: NO_NODE, context });
  }

  transferLeader(to: number): void {
    this.#local('MsgTransferLeader', to);
  }

  /** A follower drops its leader, so that it votes for another without waiting. */
  forgetLeader(): void {
    this.#local('MsgForgetLeader', NO_NODE);
  }

  /**
   * A leader steps down within its term, as when its disk has stalled: it would keep its followers from
   * electing one that can make progress. Anyone else is not affected.
   */
  resign(): void {
    if (this.#core.role === 'leader') this.#core.becomeFollower(this.#core.term, NO_NODE);
  }

  /** The peer has lost its log: nothing that it has acknowledged counts any more. Without effect on a follower. */
  forgetPeerLog(id: number): void {
    const { role, tracker, log } = this.#core;
    if (role === 'leader' && id !== this.#core.id) tracker.forgetProgress(id, log.lastIndex);
  }

  /** The last message to `id` could not be sent. */
  reportUnreachable(id: number): void {
    this.#local('MsgUnreachable', id);
  }

  /** What became of the last snapshot sent to `id`. Without this the peer gets nothing more. */
  reportSnapshot(id: number, outcome: 'finish' | 'failure'): void {
    step(this.#core, { type: 'MsgSnapStatus', to: this.#core.id, from: id, reject: outcome === 'failure' });
  }

  #local(type: 'MsgHup' | 'MsgTransferLeader' | 'MsgForgetLeader' | 'MsgUnreachable', from: number): void {
    step(this.#core, { type, to: this.#core.id, from });
  }

  get role(): SoftState['role'] {
    return this.#core.role;
  }

  /** NO_NODE when none is known. */
  get leader(): number {
    return this.#core.leader;
  }

  get term(): number {
    return this.#core.term;
  }

  /** Whether an entry of the present term has been applied; so there is no unapplied change of an earlier one. */
  hasAppliedInTerm(): boolean {
    return this.#core.log.term(this.#core.log.applied) === this.#core.term;
  }

  status(): RaftStatus {
    const { id, log, tracker, role, leader, leadTransferee } = this.#core;
    const peers = role === 'leader' ? [...tracker.progress.values()] : [];
    return {
      id,
      role,
      leader,
      leadTransferee,
      hardState: this.#core.hardState(),
      applied: log.applied,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      confState: confStateOf(tracker.configuration),
      progress: peers.map((peer) => peer.describe()),
    };
  }

  /** For tests that need to know when an election starts; drawn anew with each change of role. */
  setRandomizedElectionTimeout(ticks: number): void {
    this.#core.randomizedElectionTimeout = ticks;
  }
}

function start(core: RaftCore): void {
  const { hardState, confState } = core.config.storage.initialState();
  const last = core.log.lastEntry;
  restoreConfState(core, confState);
  core.term = hardState.term;
  core.vote = hardState.vote;
  // What was applied or compacted was committed, even if the commit index written last says less: that write
  // is not waited for.
  const { applied } = core.config;
  core.log.recoverCommit(Math.max(hardState.commit, applied, core.log.committed));
  if (applied > 0) core.log.appliedTo(applied, 0);
  core.becomeFollower(core.term, NO_NODE);
  core.trace({
    event: 'started',
    voters: voterIds(core.tracker.configuration),
    term: core.term,
    commit: core.log.committed,
    applied: core.log.applied,
    lastIndex: last.index,
    lastTerm: last.term,
  });
}

function checkConfig(config: RaftConfig): void {
  const { id, heartbeatTick, electionTick, maxInflightBytes } = config;
  invariant(id !== NO_NODE && !isLocalThread(id), `${id} cannot be the id of a node`);
  invariant(heartbeatTick > 0, 'heartbeatTick must be greater than 0');
  invariant(electionTick > heartbeatTick, 'electionTick must be greater than heartbeatTick');
  invariant(config.maxInflightMessages > 0, 'maxInflightMessages must be greater than 0');
  invariant(
    maxInflightBytes === 0 || maxInflightBytes >= config.maxSizePerMessageBytes,
    'maxInflightBytes must hold at least one message of maxSizePerMessageBytes',
  );
  invariant(
    config.readOnlyOption === 'safe' || config.checkQuorum,
    'lease-based reads are only safe with checkQuorum',
  );
}
