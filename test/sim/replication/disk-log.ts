import { crc32c } from '../../../base/crc32c.ts';
import {
  type AppendedRecords,
  type DamagedRecords,
  type LocatedRecords,
  LogFullError,
  type LogRecord,
  type MendableLog,
  type VerifiedPart,
} from '../../../base/record-log.ts';
import type { Process } from '../world.ts';
import { corruption, type DiskRecord, isDamaged, isSalvaged } from './disk-record.ts';
import { PendingOperations } from './pending-operations.ts';

/** What of a disk its log has to do with. */
export interface LogMedium {
  firstIndex: number;
  readonly nextIndex: number;
  records: DiskRecord[];
  nextPosition: number;
  durableIndex: number;
  readonly isFull: boolean;
  readonly isHung: boolean;
  readonly slowMs: number;
  readonly msPerMib: number;
  readonly slowReadMs: number;
  readonly tearsAppends: boolean;
  readonly onAppendOfSeveral: () => void;
  readonly failsToSync: boolean;
  failSync(): never;
  cutFrom(index: number): void;
}

/** One process's handle of the log on a disk: operations take time and are carried out in order. */
export class DiskLog implements MendableLog {
  readonly #disk: LogMedium;
  readonly #process: Process;
  readonly #pending: PendingOperations;
  #readsAtNow = 0;

  constructor(disk: LogMedium, process: Process) {
    this.#disk = disk;
    this.#process = process;
    this.#pending = new PendingOperations(process, () => disk.isHung);
  }

  get firstIndex(): number {
    return this.#disk.firstIndex;
  }

  get nextIndex(): number {
    return this.#disk.nextIndex;
  }

  get durableNextIndex(): number {
    return this.#disk.durableIndex;
  }

  #operate<T>(
    lowMs: number,
    highMs: number,
    carryOut: () => T,
    moreMs = 0,
    parts?: { readonly pieces: number; readonly carryOutPart: (pieces: number) => void },
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const delayMs = this.#process.world.between(lowMs, highMs) + this.#disk.slowMs + moreMs;
      const done = (): void => {
        try {
          const result = carryOut();
          this.#process.enter(() => resolve(result));
        } catch (error) {
          this.#process.enter(() => reject(error));
        }
      };
      this.#pending.run(delayMs, done, parts);
    });
  }

  append(records: readonly Uint8Array[]): Promise<AppendedRecords> {
    const lengthBytes = records.reduce((sum, { length }) => sum + length, 0);
    const moreMs = (lengthBytes / (1024 * 1024)) * this.#disk.msPerMib;
    const carryOut = (): AppendedRecords => {
      if (this.#disk.isFull) throw new LogFullError('the simulated disk is full');
      return this.#add(records);
    };
    // Opening finds the records that are whole, and none behind them.
    const carryOutPart = (count: number): void => {
      if (!this.#disk.isFull) this.#add(records.slice(0, count));
    };
    if (records.length > 1) this.#disk.onAppendOfSeveral();
    const parts = this.#disk.tearsAppends ? { pieces: records.length, carryOutPart } : undefined;
    return this.#operate(0, 1, carryOut, moreMs, parts);
  }

  /** Two of three times that there is nothing to wait for. */
  appendNow(records: readonly Uint8Array[]): AppendedRecords | undefined {
    const disk = this.#disk;
    const isFree =
      this.#process.isAlive &&
      this.#pending.isEmpty &&
      disk.slowMs === 0 &&
      disk.msPerMib === 0 &&
      !disk.isHung &&
      !disk.isFull;
    const mayBeTorn = disk.tearsAppends && records.length > 1;
    return isFree && !mayBeTorn && disk.nextIndex % 3 !== 0 ? this.#add(records) : undefined;
  }

  #add(records: readonly Uint8Array[]): AppendedRecords {
    const disk = this.#disk;
    const firstIndex = disk.nextIndex;
    const positions = records.map((payload) => {
      const position = disk.nextPosition;
      disk.nextPosition += payload.length + 16;
      disk.records.push({ payload: Uint8Array.from(payload), position, crc: crc32c(payload) });
      return position;
    });
    return { firstIndex, positions };
  }

  sync(): Promise<void> {
    const upTo = this.#disk.nextIndex;
    return this.#operate(0, 4, () => {
      if (this.#disk.failsToSync && upTo > this.#disk.durableIndex) this.#disk.failSync();
      this.#disk.durableIndex = Math.max(this.#disk.durableIndex, Math.min(upTo, this.#disk.nextIndex));
    });
  }

  async read(index: number): Promise<Uint8Array> {
    return this.#operate(0, 1, () => {
      const record = this.#at(index);
      if (isDamaged(record)) throw corruption(index);
      return record.payload;
    });
  }

  verify(fromIndex: number, untilIndex: number, maxBytes: number): Promise<VerifiedPart> {
    return this.#operate(0, 1, () => {
      const damaged: DamagedRecords[] = [];
      let readBytes = 0;
      let index = Math.max(fromIndex, this.#disk.firstIndex);
      for (; index < Math.min(untilIndex, this.#disk.nextIndex) && readBytes < maxBytes; index++) {
        const record = this.#at(index);
        readBytes += record.payload.length;
        if (isDamaged(record)) damaged.push({ firstIndex: index, count: 1, reason: 'a bit turned over' });
      }
      return { nextIndex: index, readBytes, damaged };
    });
  }

  locate(position: number): Promise<LocatedRecords | undefined> {
    return this.#operate(0, 1, () => {
      const i = this.#disk.records.findLastIndex((record) => record.position <= position);
      const record = this.#disk.records[i];
      if (record === undefined) return undefined;
      return { firstIndex: this.#disk.firstIndex + i, count: 1, position: record.position };
    });
  }

  mend(firstIndex: number, payloads: readonly Uint8Array[]): Promise<boolean> {
    return this.#operate(0, 4, () => {
      const disk = this.#disk;
      if (disk.isFull) throw new LogFullError('the simulated disk is full');
      for (const [i, payload] of payloads.entries()) {
        const record = disk.records[firstIndex + i - disk.firstIndex];
        if (record === undefined || record.payload.length !== payload.length) return false;
        const crc = crc32c(payload);
        const { position } = record;
        disk.records[firstIndex + i - disk.firstIndex] = { position, payload: Uint8Array.from(payload), crc };
      }
      return true;
    });
  }

  #at(index: number): DiskRecord {
    const record = this.#disk.records[index - this.#disk.firstIndex];
    if (record === undefined) throw new Error(`there is no record ${index}`);
    return record;
  }

  /** What is trimmed meanwhile is given out all the same, as by a log that keeps files while they are read. */
  async *scan(fromIndex: number): AsyncIterable<LogRecord> {
    const { records, firstIndex, nextIndex: endIndex } = this.#disk;
    for (let index = fromIndex; index < endIndex; index++) {
      if (index % 64 === 0) await this.#operate(0, 1, () => undefined);
      const record = records[index - firstIndex];
      if (record === undefined || index >= this.#disk.nextIndex) return;
      const { payload, position } = record;
      if (!isDamaged(record)) yield { index, position, payload };
      else if (isSalvaged(record)) yield { index, position, payload, isDamaged: true };
      else throw corruption(index);
    }
  }

  readAt(position: number, lengthBytes: number): Promise<Uint8Array> {
    const { world } = this.#process;
    // Reads do not wait for writes.
    return new Promise((resolve, reject) => {
      world.after(world.between(0, 1) + this.#disk.slowReadMs, () =>
        this.#process.enter(() => {
          try {
            resolve(this.#bytesAt(position, lengthBytes).slice());
          } catch (error) {
            reject(error);
          }
        }),
      );
    });
  }

  /** Two of three times that the disk is no slower than it should be. */
  readAtNow(position: number, into: Uint8Array): boolean {
    const { slowMs, slowReadMs } = this.#disk;
    if (slowMs > 0 || slowReadMs > 0 || this.#readsAtNow++ % 3 === 0) return false;
    into.set(this.#bytesAt(position, into.length));
    return true;
  }

  #bytesAt(position: number, lengthBytes: number): Uint8Array {
    const { records } = this.#disk;
    let low = 0;
    let high = records.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((records[middle] as { position: number }).position <= position) low = middle;
      else high = middle - 1;
    }
    const record = records[low];
    const start = position - (record?.position ?? Number.POSITIVE_INFINITY);
    if (record === undefined || start < 0 || start + lengthBytes > record.payload.length)
      throw new Error(`nothing of ${lengthBytes} bytes lies at ${position}`);
    return record.payload.subarray(start, start + lengthBytes);
  }

  truncateFrom(index: number): Promise<void> {
    return this.#operate(0, 2, () => {
      const disk = this.#disk;
      disk.records = disk.records.slice(0, Math.max(0, index - disk.firstIndex));
      disk.durableIndex = Math.min(disk.durableIndex, index);
      disk.cutFrom(index);
    });
  }

  trimBefore(index: number): Promise<void> {
    return this.#operate(0, 1, () => {
      const disk = this.#disk;
      // Whole segments only, of 16 records each.
      const first = Math.max(disk.firstIndex, Math.min(index - (index % 16), disk.nextIndex));
      disk.records = disk.records.slice(first - disk.firstIndex);
      disk.firstIndex = first;
      disk.durableIndex = Math.max(disk.durableIndex, first);
    });
  }

  resetTo(index: number): Promise<void> {
    return this.#operate(0, 2, () => {
      this.#disk.records = [];
      this.#disk.firstIndex = index;
      this.#disk.durableIndex = index;
      this.#disk.cutFrom(0);
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
