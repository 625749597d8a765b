import type { GrowingRecord } from './growing-record.ts';
import type { LoggedRecord } from './log-record.ts';
import type { Lun } from './lun-table.ts';
import type { RecordMemory } from './record-memory.ts';
import { growRecords, joinRecord, type WriteToBuild } from './write-records.ts';

/** A record, for the memory that it is in. */
export type HeldRecord = Pick<LoggedRecord, 'slab'>;

const NO_RECORDS: readonly HeldRecord[] = [];

/**
 * Records that have been given their places, one after another, and are yet to be handed to the log together. Writes of one
 * LUN that follow each other, in time and on the disk, become one record.
 */
export class RecordBatch {
  readonly #memory: RecordMemory;
  #records: LoggedRecord[] = [];
  /** Comes after them: the last one that was given a place, as long as writes may become part of it. */
  #growing: GrowingRecord | undefined;
  /** The generation of a LUN that it is about. */
  #growingLun: Lun | undefined;

  constructor(memory: RecordMemory) {
    this.#memory = memory;
  }

  /** Places given. */
  get length(): number {
    return this.#records.length + (this.#growing === undefined ? 0 : 1);
  }

  add(records: readonly LoggedRecord[]): void {
    this.#endGrowing();
    for (const record of records) this.#records.push(record);
  }

  /**
   * Copies the data of a write, which is in flight from then on.
   * @param nextIndex the number of the next record
   * @returns the records that memory was taken for: none where it became part of one that was there
   */
  write(lun: Lun, write: WriteToBuild, nextIndex: number): readonly HeldRecord[] {
    const growing = this.#growingLun === lun ? this.#growing : undefined;
    if (growing !== undefined && joinRecord(growing, write)) return NO_RECORDS;
    this.#endGrowing();
    const records = growRecords(write, this.#memory, nextIndex);
    for (const record of records) {
      this.#endGrowing();
      this.#growing = record;
      lun.inFlight.note(record);
    }
    this.#growingLun = lun;
    return records;
  }

  #endGrowing(): void {
    if (this.#growing === undefined) return;
    this.#records.push(this.#growing.seal());
    this.#growing = undefined;
    this.#growingLun = undefined;
  }

  /** All of them; none are here any more. */
  take(): LoggedRecord[] {
    this.#endGrowing();
    const records = this.#records;
    this.#records = [];
    return records;
  }

  /** They have lost their places. */
  drop(): void {
    this.#records = [];
    this.#growing = undefined;
    this.#growingLun = undefined;
  }
}
