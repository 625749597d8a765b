import { describeError, OperationError, ProtocolError } from '../base/errors.ts';
import { LogCorruptionError } from '../base/record-log.ts';
import type { Entry, HardState, SnapshotMetadata } from './raft/types.ts';
import { decodeRecord, type RaftRecord, UNKNOWN_KIND } from './raft-records.ts';
import { type SnapshotPart, SnapshotSpool } from './snapshot-spool.ts';

/** What the records on disk add up to. */
export interface RecoveredLog {
  readonly hardState: HardState;
  /** The log begins after this. */
  readonly base: SnapshotMetadata;
  readonly entries: readonly Entry[];
  /** The snapshot at the base, where one was received and not compacted since. */
  readonly snapshot: SnapshotSpool | undefined;
  /** What had come of a snapshot that was being received. */
  readonly spool: SnapshotSpool | undefined;
  /** Why the node may not take part yet. */
  readonly lost: string | undefined;
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
  #snapshot: SnapshotSpool | undefined;
  #spool: SnapshotSpool | undefined;
  /** Index of a snapshot whose content is not here, which is in order once a later record has compacted it away. */
  #withoutContent: number | undefined;
  #lost: string | undefined;
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
        this.#snapshot = this.#wholeSpool(record.metadata);
        this.#spool = undefined;
        // The one with which every log begins holds nothing.
        if (record.metadata.index > 0) this.#lost = undefined;
        return;
      case 'lost':
        this.#lost = record.reason;
        return;
      case 'snapshotPart':
        this.#addPart(record.part, number);
        return;
      case 'compacted':
        this.#hardState = record.hardState;
        this.#base = record.metadata;
        this.#entries = this.#entries.filter((e) => e.index > record.metadata.index);
        this.#located = this.#located.filter((l) => l.lastIndex > record.metadata.index);
        this.#snapshot = undefined;
        this.#withoutContent = undefined;
    }
  }

  #addPart(part: SnapshotPart, number: number): void {
    if (part.offsetBytes === 0) this.#spool = new SnapshotSpool(part, number);
    // Others are what was kept of one that was begun anew, or whose beginning has been trimmed.
    const goesOn = this.#spool?.isOf(part) === true && this.#spool.takes(part.offsetBytes, part.bytes.length);
    if (goesOn) this.#spool?.add(part.bytes);
  }

  #wholeSpool({ index, term }: SnapshotMetadata): SnapshotSpool | undefined {
    this.#withoutContent = undefined;
    if (index === 0) return undefined;
    const { metadata } = this.#spool?.snapshot ?? {};
    const isWhole = this.#spool?.isWhole === true && metadata?.index === index && metadata.term === term;
    if (isWhole) return this.#spool;
    this.#withoutContent = index;
    return undefined;
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
    if (this.#withoutContent !== undefined) {
      throw corruption(`the content of the snapshot at ${this.#withoutContent} is not whole`);
    }
    const first = this.#entries[0]?.index ?? this.#base.index + 1;
    if (first !== this.#base.index + 1) {
      throw corruption(`entries from ${this.#base.index + 1} to ${first - 1} are missing`);
    }
    return {
      hardState: this.#hardState,
      base: this.#base,
      entries: this.#entries,
      snapshot: this.#snapshot,
      spool: this.#spool,
      lost: this.#lost,
      located: this.#located,
    };
  }
}

export function corruption(message: string): LogCorruptionError {
  return new LogCorruptionError(`the Raft log is damaged: ${message}`, { segment: 'raft', offsetBytes: 0 });
}

/** @throws LogCorruptionError, or OperationError code "newer-format" */
export function decodeStored(payload: Uint8Array, record: number): RaftRecord {
  try {
    return decodeRecord(payload);
  } catch (error) {
    if (error instanceof ProtocolError && error.code === UNKNOWN_KIND) {
      // Whole, as its checksum says, and of no kind known here.
      throw new OperationError(
        'a newer version of this program has written to the cluster log of this node',
        {
          kind: 'conflict',
          code: 'newer-format',
          got: `a record of kind ${String(error.got)}`,
          accepted: 'that version, or a newer one',
        },
      );
    }
    throw corruption(`record ${record}: ${describeError(error)}`);
  }
}
