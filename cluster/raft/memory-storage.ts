import { invariant } from '../../base/errors.ts';
import { limitSize } from './entry-size.ts';
import {
  type ConfState,
  type Entry,
  type HardState,
  NO_NODE,
  type RaftStorage,
  type Snapshot,
} from './types.ts';

const EMPTY_CONF_STATE: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

const EMPTY_SNAPSHOT: Snapshot = {
  metadata: { index: 0, term: 0, confState: EMPTY_CONF_STATE },
  data: new Uint8Array(0),
};

/** The stable log in memory: what the core reads, kept in step with the disk by its owner. */
export class MemoryStorage implements RaftStorage {
  #hardState: HardState = { term: 0, vote: NO_NODE, commit: 0 };
  #confState: ConfState | undefined;
  #snapshot: Snapshot = EMPTY_SNAPSHOT;
  /** The entry that compaction removed last; its term is still asked for. */
  #compacted = { index: 0, term: 0 };
  #entries: Entry[] = [];

  initialState(): { hardState: HardState; confState: ConfState } {
    return { hardState: this.#hardState, confState: this.#confState ?? this.#snapshot.metadata.confState };
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  /** The configuration to start from, when it is newer than the snapshot's. */
  setConfState(confState: ConfState): void {
    this.#confState = confState;
  }

  firstIndex(): number {
    return this.#compacted.index + 1;
  }

  lastIndex(): number {
    return this.#compacted.index + this.#entries.length;
  }

  entries(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | 'compacted' | 'unavailable' {
    if (lo < this.firstIndex()) return 'compacted';
    if (hi > this.lastIndex() + 1) return 'unavailable';
    const first = this.firstIndex();
    return limitSize(this.#entries.slice(lo - first, hi - first), maxSizeBytes);
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    if (index === this.#compacted.index) return this.#compacted.term;
    if (index < this.#compacted.index) return 'compacted';
    return this.#entries[index - this.firstIndex()]?.term ?? 'unavailable';
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Replaces whatever is there from the first of `entries` on. What is compacted already is skipped. */
  append(entries: readonly Entry[]): void {
    const fresh = entries.filter((entry) => entry.index >= this.firstIndex());
    const from = fresh[0];
    if (from === undefined) return;
    invariant(from.index <= this.lastIndex() + 1, `gap: ${from.index} after ${this.lastIndex()}`);
    this.#entries = this.#entries.slice(0, from.index - this.firstIndex());
    for (const entry of fresh) this.#entries.push(entry);
  }

  /** Forgets all entries up to and including `index`. */
  compact(index: number): void {
    if (index <= this.#compacted.index) return;
    const term = this.term(index);
    invariant(typeof term === 'number', `cannot compact to ${index}, the log ends at ${this.lastIndex()}`);
    this.#entries = this.#entries.slice(index + 1 - this.firstIndex());
    this.#compacted = { index, term };
  }

  /** Starts anew from a snapshot; one that is no newer than what is there changes nothing. */
  applySnapshot(snapshot: Snapshot): void {
    const { index, term, confState } = snapshot.metadata;
    if (this.#snapshot.metadata.index !== 0 && this.#snapshot.metadata.index >= index) return;
    this.#snapshot = snapshot;
    this.#compacted = { index, term };
    this.#confState = confState;
    this.#entries = [];
  }

  /** A snapshot of the state after `index`, for peers that fall behind; the log is compacted separately. */
  createSnapshot(index: number, confState: ConfState, data: Uint8Array): Snapshot {
    const term = this.term(index);
    invariant(typeof term === 'number', `no snapshot at ${index}, the log ends at ${this.lastIndex()}`);
    invariant(index > this.#snapshot.metadata.index, `there is a newer snapshot than ${index} already`);
    this.#snapshot = { metadata: { index, term, confState }, data };
    return this.#snapshot;
  }
}
