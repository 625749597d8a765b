import {
  type AppendedRecords,
  LogFailure,
  LogFullError,
  type LogRecord,
  type RecordLog,
} from '../../base/record-log.ts';

/** What would be on the disk: outlives the MemoryRecordLog that writes it, as a file outlives a process. */
export class MemoryDisk {
  records: Uint8Array[] = [];
  firstIndex = 0;
  /** Records below this survive a crash; later ones may. */
  durable = 0;
  full = false;
  failed = false;
  /** Syncs wait for this. */
  held: Promise<void> = Promise.resolve();
  syncs = 0;

  get nextIndex(): number {
    return this.firstIndex + this.records.length;
  }

  /** Loses what is not durable, but for `keep` records more. */
  crash(keep = 0): void {
    this.records.length = Math.min(this.records.length, this.durable + keep - this.firstIndex);
  }
}

/** A RecordLog in memory that tells what is written from what is durable. */
export class MemoryRecordLog implements RecordLog {
  readonly disk: MemoryDisk;
  #last: Promise<unknown> = Promise.resolve();
  #dead = false;

  constructor(disk = new MemoryDisk()) {
    this.disk = disk;
  }

  /** From now on nothing more gets to the disk, as after a SIGKILL. */
  kill(): void {
    this.#dead = true;
  }

  get firstIndex(): number {
    return this.disk.firstIndex;
  }

  get nextIndex(): number {
    return this.disk.nextIndex;
  }

  get durableNextIndex(): number {
    return this.disk.durable;
  }

  /** One call after another, in order. */
  async #inOrder<T>(run: () => Promise<T> | T): Promise<T> {
    const result = this.#last.then(async () => {
      // A killed process learns of nothing any more.
      if (this.#dead) return await new Promise<T>(() => {});
      if (this.disk.failed) throw new LogFailure('the disk has failed');
      return await run();
    });
    this.#last = result.catch(() => {});
    return await result;
  }

  async append(records: readonly Uint8Array[]): Promise<AppendedRecords> {
    return await this.#inOrder(() => {
      if (this.disk.full) throw new LogFullError('no space');
      const firstIndex = this.disk.nextIndex;
      for (const record of records) this.disk.records.push(record.slice());
      return { firstIndex, positions: records.map((_, i) => firstIndex + i) };
    });
  }

  async sync(): Promise<void> {
    await this.#inOrder(async () => {
      const upTo = this.disk.nextIndex;
      await this.disk.held;
      if (this.#dead) return;
      this.disk.syncs += 1;
      this.disk.durable = upTo;
    });
  }

  async read(index: number): Promise<Uint8Array> {
    return await this.#inOrder(() => {
      const record = this.disk.records[index - this.disk.firstIndex];
      if (record === undefined) throw new RangeError(`no record ${index}`);
      return record;
    });
  }

  async *scan(fromIndex: number): AsyncIterable<LogRecord> {
    const end = this.disk.nextIndex;
    for (let index = fromIndex; index < end; index++) {
      yield { index, position: index, payload: await this.read(index) };
    }
  }

  async readAt(position: number, lengthBytes: number): Promise<Uint8Array> {
    return (await this.read(position)).subarray(0, lengthBytes);
  }

  async truncateFrom(index: number): Promise<void> {
    await this.#inOrder(() => {
      this.disk.records.length = index - this.disk.firstIndex;
      this.disk.durable = Math.min(this.disk.durable, index);
    });
  }

  async trimBefore(index: number): Promise<void> {
    await this.#inOrder(() => {
      this.disk.records.splice(0, index - this.disk.firstIndex);
      this.disk.firstIndex = index;
    });
  }

  async resetTo(index: number): Promise<void> {
    await this.#inOrder(() => {
      this.disk.records = [];
      this.disk.firstIndex = index;
      this.disk.durable = index;
    });
  }

  async close(): Promise<void> {
    await this.#last;
  }
}
