import { LogCorruptionError } from '../base/record-log.ts';
import type { Entry, HardState, SnapshotMetadata } from './raft/types.ts';
import type { RaftRecord } from './raft-records.ts';

/** What the records on disk add up to. */
export interface RecoveredLog {
  readonly hardState: HardState;
  /** The log begins after this. */
  readonly base: SnapshotMetadata;
  readonly entries: readonly Entry[];
  /** Content of the snapshot at the base, where one was received and not compacted since. */
  readonly snapshot: Uint8Array | undefined;
  /** For each record of entries that may still matter, in order. */
  readonly located: readonly LocatedEntries[];
}

export interface LocatedEntries {
  readonly record: number;
  readonly lastIndex: number;
}

/** Puts records together, oldest first. Pure. */
export class RaftReplay {
  #hardState: HardState = { term: 0, vote: 0, commit: 0 };
  #base: SnapshotMetadata | undefined;
  #entries: Entry[] = [];
  #snapshot: Uint8Array | undefined;
  #located: LocatedEntries[] = [];

  add(record: RaftRecord, number: number): void {
    switch (record.kind) {
      case 'hardState':
        this.#hardState = record.hardState;
        return;
      case 'entries':
        this.#addEntries(record.entries, number);
        return;
      case 'snapshot':
        this.#hardState = record.hardState;
        this.#base = record.metadata;
        this.#entries = [];
        this.#located = [];
        this.#snapshot = record.data;
        return;
      case 'compacted':
        this.#hardState = record.hardState;
        this.#base = record.metadata;
        this.#entries = this.#entries.filter((e) => e.index > record.metadata.index);
        this.#located = this.#located.filter((l) => l.lastIndex > record.metadata.index);
        this.#snapshot = undefined;
    }
  }

  #addEntries(entries: readonly Entry[], number: number): void {
    const first = entries[0];
    const last = entries.at(-1);
    if (first === undefined || last === undefined) return;
    if (last.index - first.index !== entries.length - 1) {
      throw corruption(`record ${number} holds entries that do not follow each other`);
    }
    const end = this.#entries.at(-1)?.index ?? this.#base?.index;
    if (end !== undefined && first.index > end + 1) {
      // Only the oldest records can be missing, being trimmed. What says so is a later "compacted"; if
      // none follows, finish() finds out.
      this.#entries = [];
      this.#base = undefined;
    }
    const start = this.#entries[0]?.index ?? first.index;
    this.#entries.length = Math.max(0, Math.min(this.#entries.length, first.index - start));
    const after = this.#base?.index ?? 0;
    for (const entry of entries) if (entry.index > after) this.#entries.push(entry);
    this.#located.push({ record: number, lastIndex: last.index });
  }

  /** @throws LogCorruptionError when something in the middle is missing */
  finish(): RecoveredLog {
    if (this.#base === undefined) throw corruption('no record says where the log begins');
    const first = this.#entries[0]?.index ?? this.#base.index + 1;
    if (first !== this.#base.index + 1) {
      throw corruption(`entries from ${this.#base.index + 1} to ${first - 1} are missing`);
    }
    return {
      hardState: this.#hardState,
      base: this.#base,
      entries: this.#entries,
      snapshot: this.#snapshot,
      located: this.#located,
    };
  }
}

export function corruption(message: string): LogCorruptionError {
  return new LogCorruptionError(`the Raft log is damaged: ${message}`, { segment: 'raft', offsetBytes: 0 });
}
