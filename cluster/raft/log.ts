import { invariant } from '../../base/errors.ts';
import { entriesSizeBytes, limitSize } from './entry-size.ts';
import type { Trace } from './trace.ts';
import type { Entry, RaftStorage, Snapshot } from './types.ts';
import { UnstableLog } from './unstable-log.ts';

export interface EntryId {
  readonly term: number;
  readonly index: number;
}

/**
 * The whole log: what storage has and, over it, what is still unstable.
 *
 * Invariants: applied <= applying <= committed <= lastIndex, and committed never falls.
 */
export class RaftLog {
  readonly #storage: RaftStorage;
  readonly #trace: Trace;
  readonly #unstable: UnstableLog;
  readonly #maxApplyingBytes: number;
  #committed: number;
  #applying: number;
  #applied: number;
  #applyingBytes = 0;
  /** Enough has been handed out for applying; more follows when some of it is done. */
  #applyingPaused = false;

  /** @param maxApplyingBytes bound on what is handed out for applying and not yet applied */
  constructor(storage: RaftStorage, maxApplyingBytes: number, trace: Trace) {
    this.#storage = storage;
    this.#trace = trace;
    this.#maxApplyingBytes = maxApplyingBytes;
    this.#unstable = new UnstableLog(storage.lastIndex() + 1, trace);
    // All that is known at first is that compacted entries were applied.
    const compacted = storage.firstIndex() - 1;
    this.#committed = compacted;
    this.#applying = compacted;
    this.#applied = compacted;
  }

  get committed(): number {
    return this.#committed;
  }

  get applied(): number {
    return this.#applied;
  }

  get unstable(): UnstableLog {
    return this.#unstable;
  }

  get firstIndex(): number {
    return this.#unstable.firstIndex ?? this.#storage.firstIndex();
  }

  get lastIndex(): number {
    return this.#unstable.lastIndex ?? this.#storage.lastIndex();
  }

  get lastEntry(): EntryId {
    const index = this.lastIndex;
    const term = this.term(index);
    invariant(typeof term === 'number', `the term of the last entry, ${index}, is ${term}`);
    return { term, index };
  }

  /** The term is known from one below the first index (compaction remembers it) to the last. */
  term(index: number): number | 'compacted' | 'unavailable' {
    const unstable = this.#unstable.term(index);
    if (unstable !== undefined) return unstable;
    if (index + 1 < this.firstIndex) return 'compacted';
    if (index > this.lastIndex) return 'unavailable';
    return this.#storage.term(index);
  }

  termOrZero(index: number): number {
    const term = this.term(index);
    return typeof term === 'number' ? term : 0;
  }

  matches(id: EntryId): boolean {
    return this.term(id.index) === id.term;
  }

  /** Whether a log that ends with `last` has all that this one may have committed (Raft §5.4.1). */
  isUpToDate(last: EntryId): boolean {
    const own = this.lastEntry;
    return last.term > own.term || (last.term === own.term && last.index >= own.index);
  }

  /**
   * A follower's append: after `previous` come `entries`; `commit` is the leader's.
   * @returns the last index now known to agree, or undefined when `previous` is not in this log
   */
  tryAppend(previous: EntryId, entries: readonly Entry[], commit: number): number | undefined {
    if (!this.matches(previous)) return undefined;
    const lastNew = previous.index + entries.length;
    const conflict = this.#firstNewOrConflicting(entries);
    if (conflict !== undefined) {
      invariant(
        conflict > this.#committed,
        `entry ${conflict} contradicts a committed entry (${this.#committed})`,
      );
      this.append(entries.slice(conflict - previous.index - 1));
    }
    this.commitTo(Math.min(commit, lastNew));
    return lastNew;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    invariant(first.index > this.#committed, `append at ${first.index}, committed is ${this.#committed}`);
    this.#unstable.truncateAndAppend(entries);
  }

  #firstNewOrConflicting(entries: readonly Entry[]): number | undefined {
    const found = entries.find((entry) => !this.matches(entry));
    if (found !== undefined && found.index <= this.lastIndex) {
      this.#trace({
        event: 'conflictFound',
        index: found.index,
        existingTerm: this.termOrZero(found.index),
        conflictingTerm: found.term,
      });
    }
    return found?.index;
  }

  /**
   * The last position up to `index` where this log may agree with one that has `term` at `index`: terms
   * never fall along a log, so entries with a higher term cannot agree. Term 0 stands for "not known".
   */
  findConflictByTerm(index: number, term: number): EntryId {
    for (let at = index; at > 0; at--) {
      const own = this.term(at);
      if (typeof own !== 'number') return { index: at, term: 0 };
      if (own <= term) return { index: at, term: own };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: number): void {
    if (index <= this.#committed) return;
    invariant(index <= this.lastIndex, `told to commit ${index} but the log ends at ${this.lastIndex}`);
    this.#committed = index;
  }

  /** The leader's commit rule: counting decides only about entries of its own term (Raft §5.4.2). */
  tryCommit(index: number, term: number): boolean {
    if (index <= this.#committed || !this.matches({ index, term })) return false;
    this.commitTo(index);
    return true;
  }

  /** Starts from what storage says was committed before. */
  recoverCommit(index: number): void {
    invariant(
      index >= this.#committed && index <= this.lastIndex,
      `the stored commit index ${index} is outside [${this.#committed},${this.lastIndex}]`,
    );
    this.#committed = index;
  }

  /** @param allowUnstable whether entries may be applied before the local write of them is done */
  #maxAppliable(allowUnstable: boolean): number {
    return allowUnstable ? this.#committed : Math.min(this.#committed, this.#unstable.offset - 1);
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    // A snapshot goes first.
    if (this.#applyingPaused || this.#unstable.snapshot !== undefined) return false;
    return this.#applying < this.#maxAppliable(allowUnstable);
  }

  /** Committed entries to apply next. */
  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return [];
    const budgetBytes = this.#maxApplyingBytes - this.#applyingBytes;
    const entries = this.slice(this.#applying + 1, this.#maxAppliable(allowUnstable) + 1, budgetBytes);
    invariant(entries !== 'compacted', `entries after ${this.#applying} were compacted before being applied`);
    return entries;
  }

  acceptApplying(entries: readonly Entry[], allowUnstable: boolean): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    invariant(last.index <= this.#committed, `applying ${last.index}, committed is ${this.#committed}`);
    this.#applying = last.index;
    this.#applyingBytes += entriesSizeBytes(entries);
    // Also when the next entry was held back for its size, which shows by the batch ending early.
    this.#applyingPaused =
      this.#applyingBytes >= this.#maxApplyingBytes || last.index < this.#maxAppliable(allowUnstable);
  }

  appliedTo(index: number, sizeBytes: number): void {
    invariant(
      this.#applied <= index && index <= this.#committed,
      `applied ${index} is outside [${this.#applied},${this.#committed}]`,
    );
    this.#applied = index;
    this.#applying = Math.max(this.#applying, index);
    this.#applyingBytes = Math.max(0, this.#applyingBytes - sizeBytes);
    this.#applyingPaused = this.#applyingBytes >= this.#maxApplyingBytes;
  }

  snapshot(): Snapshot | undefined {
    return this.#unstable.snapshot ?? this.#storage.snapshot();
  }

  restore(snapshot: Snapshot): void {
    const { index, term } = snapshot.metadata;
    this.#trace({
      event: 'logRestoring',
      index,
      term,
      commit: this.#committed,
      applied: this.#applied,
      applying: this.#applying,
      unstableOffset: this.#unstable.offset,
      unstableOffsetInProgress: this.#unstable.offsetInProgress,
      unstableLength: this.#unstable.length,
    });
    this.#committed = index;
    this.#unstable.restore(snapshot);
  }

  /** Entries from `lo` to the end, as many as fit. */
  entriesFrom(lo: number, maxSizeBytes: number): readonly Entry[] | 'compacted' {
    return lo > this.lastIndex ? [] : this.slice(lo, this.lastIndex + 1, maxSizeBytes);
  }

  /** Entries lo <= index < hi, at least one, then as many as fit. */
  slice(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | 'compacted' {
    invariant(lo <= hi && hi <= this.lastIndex + 1, `entries [${lo},${hi}) of a log to ${this.lastIndex}`);
    if (lo < this.firstIndex) return 'compacted';
    if (lo === hi) return [];
    if (lo >= this.#unstable.offset) return limitSize(this.#unstable.slice(lo, hi), maxSizeBytes);

    const cut = Math.min(hi, this.#unstable.offset);
    const stable = this.#storage.entries(lo, cut, maxSizeBytes);
    invariant(stable !== 'unavailable', `storage lacks entries of [${lo},${cut})`);
    if (stable === 'compacted' || cut === hi || stable.length < cut - lo) return stable;

    const restBytes = maxSizeBytes - entriesSizeBytes(stable);
    const unstable = limitSize(this.#unstable.slice(cut, hi), restBytes);
    // The one entry that limitSize always grants is not owed here.
    return entriesSizeBytes(unstable) > restBytes ? stable : [...stable, ...unstable];
  }
}
