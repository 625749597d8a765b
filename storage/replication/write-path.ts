import { invariant } from '../../base/errors.ts';
import { DeviceError, type WriteEnded } from '../block-device.ts';
import type { GroupRecord, LoggedRecord } from '../lun/log-record.ts';
import type { LunHost } from '../lun/lun-device.ts';
import type { LogBlocks, ReadAt, ReadAtNow } from '../lun/lun-reader.ts';
import type { Lun, LunTable } from '../lun/lun-table.ts';
import { type HeldRecord, RecordBatch } from '../lun/record-batch.ts';
import { RecordMemory } from '../lun/record-memory.ts';
import type { WriteToBuild } from '../lun/write-records.ts';
import type { LogView, ReplicaEvent } from './core.ts';
import { AHEAD_WRITES, TOO_FEW_WAIT_MS } from './limits.ts';
import type { LogWriter } from './log-writer.ts';
import { type PendingWrite, PendingWrites } from './pending-writes.ts';
import { durableEverywhere, isEpochPersisted, type PrimaryState, servingUntilMs } from './primary-state.ts';

export interface WritePathOptions {
  readonly view: LogView;
  readonly table: LunTable;
  readonly writer: LogWriter;
  readonly readAt: ReadAt;
  readonly readAtNow?: ReadAtNow | undefined;
  readonly soundBlock: LogBlocks['soundBlock'];
  readonly readBegins: () => () => void;
  readonly nowMs: () => number;
  readonly isDiskLow: () => boolean;
  readonly isDiskFilling: () => boolean;
  readonly primary: () => PrimaryState | undefined;
  /** Of the group, as this member last heard; a backup is asked as well. */
  readonly durability: () => 'write-back' | 'durable';
  readonly step: (event: ReplicaEvent) => void;
  /** Other members' word is needed, and what is handed on now leaves now. */
  readonly areOthersIdle: () => boolean;
}

/**
 * Gives writes their places in the log. All that arrive in one turn of the event loop are handed to the log,
 * and to the other members, together; those that follow each other on the disk as well, as one record. But where the
 * other members have nothing to do, the first of them go ahead.
 */
export class WritePath implements LunHost {
  readonly #options: WritePathOptions;
  readonly memory = new RecordMemory();
  readonly #pending = new PendingWrites((records) => this.#giveBack(records));
  readonly readAt: ReadAt;
  readonly readAtNow?: ReadAtNow | undefined;
  readonly #batch = new RecordBatch(this.memory);
  #batchWrites = 0;
  #batchWantsSync = false;
  #isAhead = false;
  /** Rises whenever what waits in #batch has lost its places. */
  #era = 0;

  constructor(options: WritePathOptions) {
    this.#options = options;
    this.readAt = options.readAt;
    this.readAtNow = options.readAtNow;
  }

  get writeCacheEnabled(): boolean {
    return this.#options.durability() !== 'durable';
  }

  get spaceIsLow(): boolean {
    return this.#options.isDiskFilling();
  }

  soundBlock(position: number, crc: number): Promise<Uint8Array | undefined> {
    return this.#options.soundBlock(position, crc);
  }

  readBegins(): () => void {
    return this.#options.readBegins();
  }

  isCurrent(lun: Lun): boolean {
    return this.#options.table.get(lun.description.lunId) === lun;
  }

  assertServing(): void {
    if (this.#options.primary()?.phase !== 'serving') throw notServing();
  }

  confirmServing(): Promise<void> | undefined {
    this.assertServing();
    return this.isCertainlyServing() ? undefined : this.#pending.awaitLease();
  }

  isCertainlyServing(): boolean {
    const primary = this.#options.primary();
    if (primary === undefined) return false;
    // Asked twice with every write.
    const untilMs = servingUntilMs(primary);
    return untilMs === Number.POSITIVE_INFINITY || this.#options.nowMs() < untilMs;
  }

  /**
   * @throws DeviceError kind "no-space" while only the reserve is left, "too-few-copies" where writes need more members in
   *   sync than there are and have waited for them
   */
  admit(lunId: number, lengthBytes: number): Promise<void> | undefined {
    if (lengthBytes > 0 && this.#options.isDiskLow()) {
      throw new DeviceError('no-space', 'the disk of the log has only its reserve left');
    }
    if (this.#hasTooFewCopies()) return this.#admitWithCopies(lunId, lengthBytes);
    return this.#pending.admit(lunId, lengthBytes);
  }

  async #admitWithCopies(lunId: number, lengthBytes: number): Promise<void> {
    const deadlineMs = this.#options.nowMs() + TOO_FEW_WAIT_MS;
    while (this.#hasTooFewCopies()) await this.#pending.awaitCopies(deadlineMs);
    await this.#pending.admit(lunId, lengthBytes);
  }

  #hasTooFewCopies(): boolean {
    const group = this.#options.primary()?.group;
    return group !== undefined && group.inSync.length < group.minInSync;
  }

  admitsNow(lunId: number, lengthBytes: number): boolean {
    if (lengthBytes > 0 && this.#options.isDiskLow()) return false;
    return !this.#hasTooFewCopies() && this.#pending.admitsNow(lunId, lengthBytes);
  }

  #giveBack(records: readonly HeldRecord[]): void {
    for (const { slab } of records) if (slab !== undefined) this.memory.giveBack(slab);
  }

  recordEpoch(): number {
    const primary = this.#options.primary();
    invariant(primary !== undefined, 'only a primary makes records');
    return primary.reign;
  }

  /** The number the next record given a place will have. */
  get nextIndex(): number {
    return this.#options.view.nextIndex + this.#batch.length;
  }

  /** Nobody is to be told of anything: a write is being begun. */
  get isGoingAhead(): boolean {
    return this.#isAhead;
  }

  beforeWrite(): void {
    if (this.#batchWrites < AHEAD_WRITES || !this.#options.areOthersIdle()) return;
    this.#isAhead = true;
    try {
      this.#sendBatch(this.#era);
    } finally {
      this.#isAhead = false;
    }
    queueMicrotask(() => this.settle());
  }

  submit(records: readonly LoggedRecord[], forceUnitAccess: boolean, ended: WriteEnded): number {
    this.assertServing();
    const firstIndex = this.nextIndex;
    this.#beginBatch();
    this.#batch.add(records);
    let lengthBytes = 0;
    for (const { payload } of records) lengthBytes += payload.length;
    const lunId = lunOf(records.at(-1)?.record);
    this.#placed({ lunId, endIndex: this.nextIndex, lengthBytes, forceUnitAccess, records, ended });
    return firstIndex;
  }

  submitWrite(lun: Lun, write: WriteToBuild, forceUnitAccess: boolean, ended: WriteEnded): void {
    this.assertServing();
    this.#beginBatch();
    const records = this.#batch.write(lun, write, this.nextIndex);
    const { lunId, lengthBytes } = write;
    this.#placed({ lunId, endIndex: this.nextIndex, lengthBytes, forceUnitAccess, records, ended });
  }

  /** Its records are in the batch. */
  #placed(write: PendingWrite): void {
    if (write.forceUnitAccess) this.#batchWantsSync = true;
    this.#batchWrites++;
    this.#pending.add(write);
  }

  #beginBatch(): void {
    if (this.#batch.length > 0) return;
    const era = this.#era;
    queueMicrotask(() => this.#sendBatch(era));
  }

  #sendBatch(era: number): void {
    // It may have gone ahead.
    if (era !== this.#era || this.#batch.length === 0) return;
    const batch = this.#batch.take();
    const wantsSync = this.#batchWantsSync;
    this.#batchWrites = 0;
    this.#batchWantsSync = false;
    const { view, step, writer } = this.#options;
    const firstIndex = view.nextIndex;
    const nextIndex = firstIndex + batch.length;
    step({ kind: 'assigned', nextIndex });
    // Known before the records go out, so that they carry the wish with them.
    if (wantsSync) step({ kind: 'wantSync', index: nextIndex });
    writer.append(view.cut, firstIndex, batch);
  }

  async flush(): Promise<void> {
    this.assertServing();
    const index = this.#options.view.commitIndex;
    this.#options.step({ kind: 'wantSync', index });
    const primary = this.#options.primary();
    if (primary === undefined) throw notServing();
    if (durableEverywhere(primary) < index) await this.#pending.awaitDurable(index);
    await this.confirmServing();
  }

  /** Answers those whose wait is over, as the state now stands. */
  settle(): void {
    const primary = this.#options.primary();
    if (primary === undefined || this.#isAhead) return;
    if (isEpochPersisted(primary)) {
      const { table, view } = this.#options;
      const durableIndex = durableEverywhere(primary);
      this.#pending.onCommitted(Math.min(view.commitIndex, table.appliedIndex), durableIndex);
      if (this.#pending.hasDurableWaiters) this.#pending.onDurable(durableIndex);
    }
    // These rest on nothing that the disk has yet to take, and have an end however long it takes.
    if (this.#pending.hasCopiesWaiters) {
      this.#pending.onCopies(!this.#hasTooFewCopies(), this.#options.nowMs());
    }
    if (this.#pending.hasLeaseWaiters && this.isCertainlyServing()) this.#pending.onLeaseRenewed();
  }

  /** The lease is not to be waited for any more, whoever begins to until it has been renewed included. */
  leaseLost(): void {
    if (this.#pending.hasLeaseWaiters) this.#pending.onLeaseLost();
  }

  /** No space: nothing from `appendedIndex` on is in the log. */
  failUnappended(appendedIndex: number): void {
    this.#dropBatch();
    this.#options.table.forgetInFlight(appendedIndex);
    this.#pending.failFrom(appendedIndex, () => new DeviceError('no-space', 'the log has no space left'));
  }

  /** This node is primary no longer: what becomes of writes under way is for the next one to decide. */
  failAll(): void {
    this.#dropBatch();
    this.#options.table.forgetInFlight(0);
    this.#pending.failAll(notServing);
  }

  #dropBatch(): void {
    this.#era++;
    this.#batch.drop();
    this.#batchWrites = 0;
    this.#batchWantsSync = false;
  }
}

/** What belongs to no LUN counts as one of its own. */
function lunOf(record: GroupRecord | undefined): number {
  return record !== undefined && 'lunId' in record ? record.lunId : 0;
}

export function notServing(): DeviceError {
  return new DeviceError('not-serving', 'this node does not serve the portal group');
}
