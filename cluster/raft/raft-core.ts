import { invariant } from '../../base/errors.ts';
import { payloadSizeBytes } from './entry-size.ts';
import { RaftLog } from './log.ts';
import { isCampaignMessage, isPromise } from './message-kinds.ts';
import type { RaftConfig } from './raft-config.ts';
import { PendingReads } from './read-only.ts';
import type { Trace } from './trace.ts';
import { Tracker } from './tracker.ts';
import {
  type Entry,
  type HardState,
  type Message,
  NO_NODE,
  type ReadState,
  type SoftState,
} from './types.ts';

/** A message before send() has put sender and term on it. */
export type Outgoing = Omit<Message, 'from' | 'term'> & { from?: number; term?: number };

/** An entry before the leader has given it term and index. */
export type ProposedEntry = Pick<Entry, 'type' | 'data'>;

const NO_DATA = new Uint8Array(0);

/**
 * One node's state and the few operations that keep it whole: changing roles, sending, appending.
 * What to do about a message is decided by the step files, which all work on this object.
 */
export class RaftCore {
  readonly config: RaftConfig;
  readonly id: number;
  readonly log: RaftLog;
  readonly tracker: Tracker;
  readonly trace: Trace;

  term = 0;
  vote = NO_NODE;
  role: SoftState['role'] = 'follower';
  leader = NO_NODE;
  leadTransferee = NO_NODE;

  /** Ticks since the last election timeout, or for a follower since it heard from its leader. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** electionTick <= this < 2 * electionTick, drawn anew at each change of role or term. */
  randomizedElectionTimeout = 0;

  /**
   * An index at or above that of the last configuration change that may be unapplied. The leader accepts the
   * next one only once it has applied this far: there is never more than one under way.
   */
  pendingConfIndex = 0;
  uncommittedBytes = 0;

  reads = new PendingReads();
  /** Reads that came before the first commit of this term. */
  earlyReads: Message[] = [];
  readStates: ReadState[] = [];

  /** To other nodes, at once. */
  messages: Message[] = [];
  /** To other nodes and to this one, once everything unstable so far is durable. */
  messagesAfterAppend: Message[] = [];

  constructor(config: RaftConfig) {
    this.config = config;
    this.id = config.id;
    this.trace = config.trace;
    const maxApplyingBytes = config.maxCommittedSizePerReadyBytes || config.maxSizePerMessageBytes;
    this.log = new RaftLog(config.storage, maxApplyingBytes, config.trace);
    this.tracker = new Tracker({
      maxMessages: config.maxInflightMessages,
      maxBytes: config.maxInflightBytes || Number.POSITIVE_INFINITY,
    });
  }

  softState(): SoftState {
    return { leader: this.leader, role: this.role };
  }

  hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  /**
   * Queues a message. Promises wait for the disk, everything else may leave at once.
   * @param outgoing belongs to the core from now on
   */
  send(outgoing: Outgoing): void {
    const message = this.#addressed(outgoing);
    if (isPromise(message.type)) {
      // Refusals too: they may rest on a vote or on entries that are not durable yet.
      this.messagesAfterAppend.push(message);
    } else {
      invariant(message.to !== this.id, `${message.type} was addressed to its own sender`);
      this.messages.push(message);
    }
  }

  /** In place: copying a message costs more than all else that is done to it here. */
  #addressed(outgoing: Outgoing): Message {
    if (outgoing.from === undefined || outgoing.from === NO_NODE) outgoing.from = this.id;
    const { type, term = 0 } = outgoing;
    if (isCampaignMessage(type)) {
      // The term of a campaign may differ from the sender's own.
      invariant(term !== 0, `${type} must name its term`);
      return outgoing as Message;
    }
    invariant(term === 0, `${type} carries the sender's term and no other`);
    // Forwarded requests count as local to the leader, whatever its term.
    if (type !== 'MsgProp' && type !== 'MsgReadIndex') outgoing.term = this.term;
    return outgoing as Message;
  }

  /** Forgets what belonged to the role or term before. */
  reset(term: number): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = NO_NODE;
    }
    this.leader = NO_NODE;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.randomizedElectionTimeout = this.config.electionTick + this.config.random(this.config.electionTick);
    this.leadTransferee = NO_NODE;
    this.tracker.resetVotes();
    this.tracker.resetProgress(this.id, this.log.lastIndex);
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.reads = new PendingReads();
    this.earlyReads = [];
  }

  becomeFollower(term: number, leader: number): void {
    this.reset(term);
    this.leader = leader;
    this.role = 'follower';
    this.trace({ event: 'becameFollower', term });
  }

  /** Asks whether an election could be won; changes neither term nor vote (Raft dissertation §9.6). */
  becomePreCandidate(): void {
    invariant(this.role !== 'leader', 'a leader does not campaign');
    this.tracker.resetVotes();
    this.leader = NO_NODE;
    this.role = 'preCandidate';
    this.trace({ event: 'becamePreCandidate', term: this.term });
  }

  becomeCandidate(): void {
    invariant(this.role !== 'leader', 'a leader does not campaign');
    this.reset(this.term + 1);
    this.vote = this.id;
    this.role = 'candidate';
    this.trace({ event: 'becameCandidate', term: this.term });
  }

  becomeLeader(): void {
    invariant(this.role === 'candidate', `a ${this.role} cannot become leader`);
    this.reset(this.term);
    this.leader = this.id;
    this.role = 'leader';
    const own = this.tracker.progress.get(this.id);
    invariant(own !== undefined, 'a node outside the configuration was elected');
    own.becomeReplicate();
    own.recentActive = true;
    // There may be a change among the entries taken over; finding out would mean reading them all.
    this.pendingConfIndex = this.log.lastIndex;
    // Only an entry of its own term lets a leader commit those of earlier terms.
    const appended = this.appendEntries([{ type: 'normal', data: NO_DATA }]);
    invariant(appended, 'the first entry of a term was refused');
    this.trace({ event: 'becameLeader', term: this.term });
  }

  /** Appends to the leader's own log; false when that would exceed the limit on uncommitted data. */
  appendEntries(proposed: readonly ProposedEntry[]): boolean {
    const sizeBytes = payloadSizeBytes(proposed);
    const limitBytes = this.config.maxUncommittedEntriesBytes || Number.POSITIVE_INFINITY;
    // One proposal of any size is let in when nothing else is under way; one without data always is.
    if (this.uncommittedBytes > 0 && sizeBytes > 0 && this.uncommittedBytes + sizeBytes > limitBytes) {
      return false;
    }
    this.uncommittedBytes += sizeBytes;
    const after = this.log.lastIndex;
    this.log.append(
      proposed.map(({ type, data }, at) => ({ type, data, term: this.term, index: after + 1 + at })),
    );
    // The leader counts its own log only once it is durable: this comes back to it after the write.
    this.send({ type: 'MsgAppResp', to: this.id, index: this.log.lastIndex });
    return true;
  }

  releaseUncommitted(sizeBytes: number): void {
    this.uncommittedBytes = Math.max(0, this.uncommittedBytes - sizeBytes);
  }

  /** @returns whether the commit index rose */
  tryCommit(): boolean {
    return this.log.tryCommit(this.tracker.committedIndex(), this.term);
  }

  /** Before this the leader does not know what earlier leaders have committed. */
  hasCommittedInTerm(): boolean {
    return this.log.term(this.log.committed) === this.term;
  }

  /** Whether this node could win an election and lead. */
  isPromotable(): boolean {
    const own = this.tracker.progress.get(this.id);
    return own !== undefined && !own.isLearner && this.log.unstable.snapshot === undefined;
  }
}
