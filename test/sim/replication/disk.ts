import { crc32c } from '../../../base/crc32c.ts';
import {
  type AppendedRecords,
  type DamagedRecords,
  type LocatedRecords,
  LogCorruptionError,
  LogFailure,
  LogFullError,
  type LogRecord,
  type MendableLog,
  type VerifiedPart,
} from '../../../base/record-log.ts';
import { damagedBlocksOf } from '../../../storage/lun/log-record.ts';
import type { CheckpointStore, MetaStore } from '../../../storage/replication/index.ts';
import type { Process } from '../world.ts';

interface DiskRecord {
  readonly payload: Uint8Array;
  readonly position: number;
  /** Of the payload as it was written. */
  readonly crc: number;
  /** The payload as it was written, where a bit has turned over since. */
  readonly written?: Uint8Array;
}

function isDamaged({ payload, crc, written }: DiskRecord): boolean {
  return written !== undefined && crc32c(payload) !== crc;
}

/** A log is opened with such damage all the same. */
function isSalvaged({ payload, crc }: DiskRecord): boolean {
  return damagedBlocksOf(payload, { before: 0, whole: crc }) !== undefined;
}

function corruption(index: number): LogCorruptionError {
  return new LogCorruptionError(`record ${index} is damaged`, { segment: '', offsetBytes: 0 });
}

/** What a node's disk holds, page cache included; it outlives the node's processes. */
export class Disk {
  /** Made with it, and copied with what is on it. */
  readonly id: string;
  firstIndex = 1;
  records: DiskRecord[] = [];
  nextPosition = 64;
  durableIndex = 1;
  meta = new Map<string, Uint8Array>();
  checkpoint: Uint8Array | undefined;
  isFull = false;
  /** Bounds of how long an operation takes, in ms. */
  slowMs = 0;
  /** What writing takes besides. */
  msPerMib = 0;
  /** The next sync fails. */
  failsToSync = false;
  /** From this record on pages were dropped by a sync that failed: later syncs say nothing of them. */
  #droppedFrom = Number.POSITIVE_INFINITY;

  constructor(id: string) {
    this.id = id;
  }

  /** The same disk as it is now, to be put in its place later. */
  copy(): Disk {
    const copy = new Disk(this.id);
    copy.firstIndex = this.firstIndex;
    copy.records = [...this.records];
    copy.nextPosition = this.nextPosition;
    copy.durableIndex = this.durableIndex;
    copy.meta = new Map(this.meta);
    copy.checkpoint = this.checkpoint;
    copy.#droppedFrom = this.#droppedFrom;
    return copy;
  }

  get nextIndex(): number {
    return this.firstIndex + this.records.length;
  }

  /** Nothing is wrong with it any more, but for what is on it. */
  mend(): void {
    this.isFull = false;
    this.slowMs = 0;
    this.failsToSync = false;
  }

  /**
   * The power goes: what was not synced is lost.
   * @param random given where a part of it, up to some record, may have got onto the disk
   */
  losePower(random?: { below(bound: number): number } | false): void {
    const safe = Math.max(0, Math.min(this.durableIndex, this.#droppedFrom) - this.firstIndex);
    const unsynced = this.#droppedFrom < this.nextIndex ? 0 : Math.max(0, this.records.length - safe);
    const mayKeep = random !== undefined && random !== false && unsynced > 0 && random.below(2) === 0;
    const kept = mayKeep ? random.below(unsynced + 1) : 0;
    this.records = this.records.slice(0, safe + kept);
    this.durableIndex = Math.min(this.durableIndex, this.nextIndex);
    this.#droppedFrom = Number.POSITIVE_INFINITY;
  }

  /** What the system does when a write to the device fails: it says so once, and takes the pages for clean from then on. */
  failSync(): never {
    this.failsToSync = false;
    this.#droppedFrom = Math.min(this.#droppedFrom, this.durableIndex);
    throw new LogFailure('the simulated disk has failed to sync');
  }

  /** Records from there on are other ones now, or none. */
  cutFrom(index: number): void {
    if (index <= this.#droppedFrom) this.#droppedFrom = Number.POSITIVE_INFINITY;
  }

  /** A bit turns over. */
  flip(index: number, at: number, bit: number): void {
    const record = this.records[index - this.firstIndex] as DiskRecord;
    const payload = Uint8Array.from(record.payload);
    payload[at] = (payload[at] as number) ^ (1 << bit);
    this.records[index - this.firstIndex] = { written: record.payload, ...record, payload };
  }

  /** Bits of a record are as they were. */
  unflip(index: number): void {
    const { position, crc } = this.records[index - this.firstIndex] as DiskRecord;
    this.records[index - this.firstIndex] = { payload: this.written(index), position, crc };
  }

  /** A record as it was written. */
  written(index: number): Uint8Array {
    const { written, payload } = this.records[index - this.firstIndex] as DiskRecord;
    return written ?? payload;
  }

  /** Whether it holds this very record, undamaged. */
  has(index: number, payload: Uint8Array): boolean {
    const record = this.records[index - this.firstIndex];
    return record !== undefined && !isDamaged(record) && Buffer.compare(record.payload, payload) === 0;
  }

  /** Numbers of damaged records. */
  damaged(): number[] {
    return this.records.flatMap((record, i) => (isDamaged(record) ? [this.firstIndex + i] : []));
  }

  openLog(process: Process, verifyFrom = 0): Promise<MendableLog> {
    for (const [i, record] of this.records.entries()) {
      if (this.firstIndex + i >= verifyFrom && isDamaged(record) && !isSalvaged(record))
        return Promise.reject(corruption(this.firstIndex + i));
    }
    return Promise.resolve(new DiskLog(this, process));
  }

  /** Of the one group there is. */
  checkpointStore(process: Process): CheckpointStore {
    const pending = new PendingOperations(process);
    const operate = (carryOut: () => void): Promise<void> =>
      new Promise((resolve) => {
        pending.run(process.world.between(0, 3) + this.slowMs, () => {
          carryOut();
          process.enter(resolve);
        });
      });
    return {
      logId: () => Promise.resolve(this.id),
      read: async (_, use) => {
        const bytes = this.checkpoint;
        if (bytes === undefined) return undefined;
        return use((into, offset) => {
          const part = bytes.subarray(offset, offset + into.length);
          into.set(part);
          return Promise.resolve(part.length);
        });
      },
      begin: () => {
        const written: Uint8Array[] = [];
        return Promise.resolve({
          write: (parts) => operate(() => void written.push(...parts.map((part) => Uint8Array.from(part)))),
          commit: () =>
            operate(() => {
              this.checkpoint = Buffer.concat(written);
            }),
          abandon: () => Promise.resolve(),
        });
      },
      remove: () =>
        operate(() => {
          this.checkpoint = undefined;
        }),
    };
  }

  metaStore(process: Process): MetaStore {
    const pending = new PendingOperations(process);
    return {
      load: (groupId) => Promise.resolve(this.meta.get(groupId)),
      save: (groupId, bytes) =>
        new Promise((resolve) => {
          pending.run(process.world.between(0, 3) + this.slowMs, () => {
            this.meta.set(groupId, bytes);
            process.enter(resolve);
          });
        }),
    };
  }
}

/**
 * What a process has asked of the disk and not been told the end of. It is done in order; when the process is
 * killed some of it, from the front, is done at once and the rest never, since the next process is not
 * started before the last one is gone.
 */
class PendingOperations {
  readonly #process: Process;
  #waiting: (() => void)[] = [];
  #lastDoneMs = 0;

  constructor(process: Process) {
    this.#process = process;
    process.onKill(() => {
      let count = process.world.random.below(this.#waiting.length + 1);
      for (const carryOut of this.#waiting.splice(0)) if (count-- > 0) carryOut();
    });
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  run(delayMs: number, carryOut: () => void): void {
    const { world, isAlive } = this.#process;
    if (!isAlive) return;
    this.#lastDoneMs = Math.max(this.#lastDoneMs, world.nowMs + delayMs);
    this.#waiting.push(carryOut);
    world.at(this.#lastDoneMs, () => this.#waiting.shift()?.());
  }
}

/** One process's handle of the log on a disk: operations take time and are carried out in order. */
class DiskLog implements MendableLog {
  readonly #disk: Disk;
  readonly #process: Process;
  readonly #pending: PendingOperations;

  constructor(disk: Disk, process: Process) {
    this.#disk = disk;
    this.#process = process;
    this.#pending = new PendingOperations(process);
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

  #operate<T>(lowMs: number, highMs: number, carryOut: () => T, moreMs = 0): Promise<T> {
    return new Promise((resolve, reject) => {
      const delayMs = this.#process.world.between(lowMs, highMs) + this.#disk.slowMs + moreMs;
      this.#pending.run(delayMs, () => {
        try {
          const result = carryOut();
          this.#process.enter(() => resolve(result));
        } catch (error) {
          this.#process.enter(() => reject(error));
        }
      });
    });
  }

  append(records: readonly Uint8Array[]): Promise<AppendedRecords> {
    const lengthBytes = records.reduce((sum, { length }) => sum + length, 0);
    const moreMs = (lengthBytes / (1024 * 1024)) * this.#disk.msPerMib;
    const carryOut = (): AppendedRecords => {
      if (this.#disk.isFull) throw new LogFullError('the simulated disk is full');
      return this.#add(records);
    };
    return this.#operate(0, 1, carryOut, moreMs);
  }

  /** Two of three times that there is nothing to wait for. */
  appendNow(records: readonly Uint8Array[]): AppendedRecords | undefined {
    const disk = this.#disk;
    const isFree =
      this.#process.isAlive &&
      this.#pending.isEmpty &&
      disk.slowMs === 0 &&
      disk.msPerMib === 0 &&
      !disk.isFull;
    return isFree && disk.nextIndex % 3 !== 0 ? this.#add(records) : undefined;
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
      world.after(world.between(0, 1), () =>
        this.#process.enter(() => {
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
          if (record === undefined || start < 0 || start + lengthBytes > record.payload.length) {
            reject(new Error(`nothing of ${lengthBytes} bytes lies at ${position}`));
          } else {
            resolve(record.payload.slice(start, start + lengthBytes));
          }
        }),
      );
    });
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
