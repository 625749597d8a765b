import { crc32c } from '../../../base/crc32c.ts';
import { proposalHeader } from '../../../cluster/proposals.ts';
import type { Entry, HardState } from '../../../cluster/raft/index.ts';
import type { RaftRecord } from '../../../cluster/raft-records.ts';

/** What tells one entry from another at the same place. */
export interface SeenEntry {
  readonly index: number;
  readonly term: number;
  readonly digest: number;
  /** The entry itself, where it changes who is a member. */
  readonly change: Entry | undefined;
  /** Which proposal of which process it is; undefined: of none. */
  readonly proposal: string | undefined;
}

export function seen(entry: Entry): SeenEntry {
  const { index, term, type, data } = entry;
  const isProposal = type === 'normal' && data.length >= proposalHeader.sizeBytes;
  return {
    ...{ index, term, digest: crc32c(data, type.length) },
    change: type === 'normal' ? undefined : entry,
    proposal: isProposal ? proposalOf(data) : undefined,
  };
}

/** What tells a proposal from all others, of whichever process. */
export function proposalOf(data: Uint8Array): string {
  return Buffer.from(data.subarray(0, proposalHeader.sizeBytes)).toString('hex');
}

/** What a series of records adds up to, worked out here and not by the code under test. */
export class RaftView {
  term = 0;
  vote = 0;
  /** Up to here it knows what is committed, also after a start. */
  commit = 0;
  baseIndex = 0;
  /** -1: not known. */
  baseTerm = 0;
  #entries: SeenEntry[] = [];

  get lastIndex(): number {
    return this.baseIndex + this.#entries.length;
  }

  at(index: number): SeenEntry | undefined {
    return this.#entries[index - this.baseIndex - 1];
  }

  /** undefined: not known */
  termAt(index: number): number | undefined {
    if (index === this.baseIndex) return this.baseTerm < 0 ? undefined : this.baseTerm;
    return this.at(index)?.term;
  }

  /** The last entry after `index` that changes who is a member. */
  lastChangeAfter(index: number): SeenEntry | undefined {
    return this.#entries.findLast((entry) => entry.index > index && entry.change !== undefined);
  }

  /** Whether the log has this entry, or begins behind it. */
  has(index: number, term: number): boolean {
    return index <= this.baseIndex || this.at(index)?.term === term;
  }

  add(record: RaftRecord): void {
    switch (record.kind) {
      case 'hardState':
        this.#setHardState(record.hardState);
        return;
      case 'entries':
        this.#addEntries(record.entries.map(seen));
        return;
      case 'snapshot':
        this.#setHardState(record.hardState);
        this.#begin(record.metadata.index, record.metadata.term, []);
        return;
      case 'lost':
      case 'snapshotPart':
        // Counts for nothing before the snapshot is whole.
        return;
      case 'compacted':
        this.#setHardState(record.hardState);
        this.#begin(
          record.metadata.index,
          record.metadata.term,
          this.#entries.filter((e) => e.index > record.metadata.index),
        );
    }
  }

  #setHardState({ term, vote, commit }: HardState): void {
    this.term = term;
    this.vote = vote;
    this.commit = Math.max(this.commit, commit);
  }

  #begin(index: number, term: number, entries: SeenEntry[]): void {
    this.baseIndex = index;
    this.baseTerm = term;
    this.#entries = entries;
  }

  #addEntries(entries: readonly SeenEntry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    // Records before it were trimmed away.
    if (first.index > this.lastIndex + 1) this.#begin(first.index - 1, -1, []);
    const kept = Math.max(0, first.index - this.baseIndex - 1);
    this.#entries.length = Math.min(this.#entries.length, kept);
    for (const entry of entries) if (entry.index > this.baseIndex) this.#entries.push(entry);
  }
}
