import { invariant } from '../../base/errors.ts';
import type { Inflights } from './inflights.ts';
import type { PeerProgress, ProgressState } from './status.ts';

export interface ProgressStart {
  readonly id: number;
  readonly match: number;
  readonly next: number;
  readonly isLearner: boolean;
  readonly recentActive: boolean;
}

/**
 * What the leader knows of one peer's log.
 *
 * - probe: where the logs agree is not known; one append at a time.
 * - replicate: appends are sent ahead of acknowledgements, as far as the inflight window allows.
 * - snapshot: the peer needs entries that are compacted; nothing is sent until it has a snapshot.
 *
 * Invariant: 0 <= match < next.
 */
export class Progress implements PeerProgress {
  readonly id: number;
  readonly #inflights: Inflights;
  #match: number;
  #next: number;
  #state: ProgressState = 'probe';
  #pendingSnapshot = 0;
  /** The highest commit index under way to the peer; sending it again would tell nothing new. */
  #sentCommit = 0;
  /** Set while a probe is unanswered or the window is full; an answer to a heartbeat clears it. */
  flowPaused = false;
  recentActive: boolean;
  isLearner: boolean;

  constructor(start: ProgressStart, inflights: Inflights) {
    this.id = start.id;
    this.#match = start.match;
    this.#next = start.next;
    this.isLearner = start.isLearner;
    this.recentActive = start.recentActive;
    this.#inflights = inflights;
  }

  /** A copy that differs in its standing only; the log positions and the window stay shared. */
  withLearner(isLearner: boolean): Progress {
    const { id, match, next, recentActive } = this;
    const copy = new Progress({ id, match, next, recentActive, isLearner }, this.#inflights);
    copy.#state = this.#state;
    copy.#pendingSnapshot = this.#pendingSnapshot;
    copy.#sentCommit = this.#sentCommit;
    copy.flowPaused = this.flowPaused;
    return copy;
  }

  get match(): number {
    return this.#match;
  }

  get next(): number {
    return this.#next;
  }

  get state(): ProgressState {
    return this.#state;
  }

  get pendingSnapshot(): number {
    return this.#pendingSnapshot;
  }

  get paused(): boolean {
    return this.#state === 'snapshot' || this.flowPaused;
  }

  get inflightMessages(): number {
    return this.#inflights.count;
  }

  get inflightFull(): boolean {
    return this.#inflights.full;
  }

  describe(): PeerProgress {
    const { id, match, next, state, recentActive, isLearner, paused } = this;
    const { pendingSnapshot, inflightMessages, inflightFull } = this;
    return {
      id,
      match,
      next,
      state,
      recentActive,
      isLearner,
      paused,
      pendingSnapshot,
      inflightMessages,
      inflightFull,
    };
  }

  #enter(state: ProgressState): void {
    this.#state = state;
    this.flowPaused = false;
    this.#pendingSnapshot = 0;
    this.#inflights.reset();
  }

  /** From a snapshot that is said to have arrived, probing starts behind it. */
  becomeProbe(): void {
    const behind = this.#state === 'snapshot' ? Math.max(this.#match, this.#pendingSnapshot) : this.#match;
    this.#enter('probe');
    this.#next = behind + 1;
    this.#lowerSentCommit();
  }

  becomeReplicate(): void {
    this.#enter('replicate');
    this.#next = this.#match + 1;
  }

  becomeSnapshot(index: number): void {
    this.#enter('snapshot');
    this.#pendingSnapshot = index;
    this.#next = index + 1;
    this.#sentCommit = index;
  }

  /** The snapshot under way did not arrive, so nothing may be concluded from it. */
  dropPendingSnapshot(): void {
    this.#pendingSnapshot = 0;
  }

  /** An append with `count` entries from `next` on has been sent. */
  sentEntries(count: number, sizeBytes: number): void {
    invariant(this.#state !== 'snapshot', 'an append was sent to a peer that waits for a snapshot');
    if (this.#state === 'replicate') {
      if (count > 0) {
        this.#next += count;
        this.#inflights.add(this.#next - 1, sizeBytes);
      }
      this.flowPaused = this.#inflights.full;
    } else if (count > 0) {
      this.flowPaused = true;
    }
  }

  sentCommit(commit: number): void {
    this.#sentCommit = commit;
  }

  /** Whether the peer's commit index may rise when it is told `commit`. */
  canRaiseCommit(commit: number): boolean {
    return commit > this.#sentCommit && this.#sentCommit < this.#next - 1;
  }

  /** The peer has everything up to `index`; false for news it has already told. */
  acknowledge(index: number): boolean {
    if (index <= this.#match) return false;
    this.#match = index;
    this.#next = Math.max(this.#next, index + 1);
    this.flowPaused = false;
    return true;
  }

  freeInflights(index: number): void {
    this.#inflights.freeThrough(index);
  }

  /**
   * The peer refused the append that follows `rejected`; its log may agree up to `hint`.
   * False for a refusal that is out of date, as later answers have shown.
   */
  reject(rejected: number, hint: number): boolean {
    if (this.#state === 'replicate') {
      if (rejected <= this.#match) return false;
      this.#next = this.#match + 1;
      this.#lowerSentCommit();
      return true;
    }
    // Probes go one at a time, so a genuine refusal is about the last one sent.
    if (this.#next - 1 !== rejected) return false;
    this.#next = Math.max(Math.min(rejected, hint + 1), this.#match + 1);
    this.#lowerSentCommit();
    this.flowPaused = false;
    return true;
  }

  /** What was sent from `next` on has probably not been taken, nor the commit index in it. */
  #lowerSentCommit(): void {
    this.#sentCommit = Math.min(this.#sentCommit, this.#next - 1);
  }
}
