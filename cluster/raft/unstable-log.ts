import { invariant } from '../../base/errors.ts';
import type { Trace } from './trace.ts';
import type { Entry, Snapshot } from './types.ts';

/**
 * The end of the log that storage does not have for certain: entries, and perhaps a snapshot before them.
 * A part of it may have been handed out for writing ("in progress"); it stays here until storage has it.
 *
 * Invariant: offset <= offsetInProgress <= offset + entries.length. The offset may lie below the end of
 * storage: then the next write replaces what storage has from there.
 */
export class UnstableLog {
  readonly #trace: Trace;
  #entries: Entry[] = [];
  #offset: number;
  #offsetInProgress: number;
  #snapshot: Snapshot | undefined;
  #snapshotInProgress = false;

  constructor(offset: number, trace: Trace) {
    this.#trace = trace;
    this.#offset = offset;
    this.#offsetInProgress = offset;
  }

  /** Index of the first unstable entry, whether there is one or not. */
  get offset(): number {
    return this.#offset;
  }

  get offsetInProgress(): number {
    return this.#offsetInProgress;
  }

  get length(): number {
    return this.#entries.length;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  get firstIndex(): number | undefined {
    return this.#snapshot === undefined ? undefined : this.#snapshot.metadata.index + 1;
  }

  get lastIndex(): number | undefined {
    if (this.#entries.length > 0) return this.#offset + this.#entries.length - 1;
    return this.#snapshot?.metadata.index;
  }

  term(index: number): number | undefined {
    if (index >= this.#offset) return this.#entries[index - this.#offset]?.term;
    return this.#snapshot?.metadata.index === index ? this.#snapshot.metadata.term : undefined;
  }

  /** Entries not yet handed out for writing. */
  nextEntries(): readonly Entry[] {
    return this.#entries.slice(this.#offsetInProgress - this.#offset);
  }

  get hasNextEntries(): boolean {
    return this.#offset + this.#entries.length > this.#offsetInProgress;
  }

  nextSnapshot(): Snapshot | undefined {
    return this.#snapshotInProgress ? undefined : this.#snapshot;
  }

  /** Everything here has been handed out for writing. */
  acceptInProgress(): void {
    this.#offsetInProgress = this.#offset + this.#entries.length;
    this.#snapshotInProgress = this.#snapshot !== undefined;
  }

  /**
   * Storage has the entries up to (index, term), and no write under way can take them back.
   * News of entries that have been replaced since is ignored.
   */
  stableTo(index: number, term: number): void {
    const unstableTerm = this.term(index);
    if (unstableTerm === undefined) {
      this.#trace({ event: 'stableEntryMissing', index });
    } else if (index < this.#offset) {
      this.#trace({ event: 'stableEntryIsSnapshot', index });
    } else if (unstableTerm !== term) {
      this.#trace({ event: 'stableEntryMismatch', index, term, unstableTerm });
    } else {
      this.#entries = this.#entries.slice(index + 1 - this.#offset);
      this.#offset = index + 1;
      this.#offsetInProgress = Math.max(this.#offsetInProgress, this.#offset);
    }
  }

  stableSnapshotTo(index: number): void {
    if (this.#snapshot?.metadata.index !== index) return;
    this.#snapshot = undefined;
    this.#snapshotInProgress = false;
  }

  /** The log begins anew behind a snapshot. */
  restore(snapshot: Snapshot): void {
    this.#offset = snapshot.metadata.index + 1;
    this.#offsetInProgress = this.#offset;
    this.#entries = [];
    this.#snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  /** Replaces everything from the first of `entries` on. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = (entries[0] as Entry).index;
    if (from === this.#offset + this.#entries.length) {
      for (const entry of entries) this.#entries.push(entry);
    } else if (from <= this.#offset) {
      this.#trace({ event: 'unstableReplaced', fromIndex: from });
      this.#entries = [...entries];
      this.#offset = from;
      this.#offsetInProgress = from;
    } else {
      this.#trace({ event: 'unstableTruncated', beforeIndex: from });
      this.#entries = [...this.slice(this.#offset, from), ...entries];
      this.#offsetInProgress = Math.min(this.#offsetInProgress, from);
    }
  }

  /** Entries lo <= index < hi, all of which must be here. */
  slice(lo: number, hi: number): readonly Entry[] {
    invariant(
      this.#offset <= lo && lo <= hi && hi <= this.#offset + this.#entries.length,
      `unstable entries [${lo},${hi}) are outside [${this.#offset},${this.#offset + this.#entries.length})`,
    );
    return this.#entries.slice(lo - this.#offset, hi - this.#offset);
  }
}
