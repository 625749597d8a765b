import { LogFailure, type MendableLog } from '../../../base/record-log.ts';
import type { CheckpointStore, MetaStore } from '../../../storage/replication/index.ts';
import type { Process } from '../world.ts';
import { DiskLog } from './disk-log.ts';
import { corruption, type DiskRecord, isDamaged, isSalvaged } from './disk-record.ts';
import { PendingOperations } from './pending-operations.ts';

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
  /** Those that the cluster may know it by, the oldest first. */
  lives: readonly string[] = [];
  isFull = false;
  /** Bounds of how long an operation takes, in ms. */
  slowMs = 0;
  /** What writing takes besides. */
  msPerMib = 0;
  /** What reading of blocks takes besides: they are not in the page cache, whereas what is written goes there. */
  slowReadMs = 0;
  /** A process that is killed may leave a part of what it was appending, up to some record. */
  tearsAppends = false;
  /** Told that several records are being appended, when it may yet come to be that only some of them are. */
  onAppendOfSeveral: () => void = () => {};
  /** It takes nothing and reports no error; what it has been given waits. Reads are from the page cache. */
  isHung = false;
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
    copy.lives = this.lives;
    copy.#droppedFrom = this.#droppedFrom;
    return copy;
  }

  get nextIndex(): number {
    return this.firstIndex + this.records.length;
  }

  /** Nothing is wrong with it any more, but for what is on it. */
  mend(): void {
    this.isFull = false;
    this.isHung = false;
    this.slowMs = 0;
    this.slowReadMs = 0;
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
    const pending = new PendingOperations(process, () => this.isHung);
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
    const pending = new PendingOperations(process, () => this.isHung);
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
