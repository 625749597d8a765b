import { DeviceError, type WriteEnded } from '../block-device.ts';
import type { HeldRecord } from '../lun/record-batch.ts';
import { FairAdmission } from './fair-admission.ts';

export interface PendingWrite {
  readonly lunId: number;
  /** The number after that of its last record, which others may share with it. */
  readonly endIndex: number;
  readonly lengthBytes: number;
  readonly forceUnitAccess: boolean;
  /** Whose memory was taken for it. */
  readonly records: readonly HeldRecord[];
  readonly ended: WriteEnded;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: DeviceError) => void;
}

interface DurableWaiter {
  readonly index: number;
  readonly ended: WriteEnded;
}

interface DeadlineWaiter extends Waiter {
  readonly deadlineMs: number;
}

/** What callers of a serving primary wait for: commitment, stable storage, room, a renewed lease. */
export class PendingWrites {
  /** In the order of the log. */
  #writes: PendingWrite[] = [];
  #head = 0;
  readonly #admission = new FairAdmission();
  #durable: DurableWaiter[] = [];
  #lease: Waiter[] = [];
  #copies: DeadlineWaiter[] = [];
  readonly #onApplied: (records: readonly HeldRecord[]) => void;

  /** @param onApplied told of records that have taken effect, before anybody is told that they have */
  constructor(onApplied: (records: readonly HeldRecord[]) => void) {
    this.#onApplied = onApplied;
  }

  get count(): number {
    return this.#writes.length - this.#head;
  }

  get hasDurableWaiters(): boolean {
    return this.#durable.length > 0;
  }

  get hasCopiesWaiters(): boolean {
    return this.#copies.length > 0;
  }

  get hasLeaseWaiters(): boolean {
    return this.#lease.length > 0;
  }

  /** Whether admit would let it in at once. */
  admitsNow(lunId: number, lengthBytes: number): boolean {
    return this.#admission.admitsNow(lunId, lengthBytes);
  }

  /** @returns undefined when there is room now; see FairAdmission */
  admit(lunId: number, lengthBytes: number): Promise<void> | undefined {
    return this.#admission.admit(lunId, lengthBytes);
  }

  /** @param write with no lower number than any before */
  add(write: PendingWrite): void {
    this.#admission.began(write.lunId, write.lengthBytes);
    this.#writes.push(write);
  }

  /** Records below are committed, and readable. */
  onCommitted(commitIndex: number, durableIndex: number): void {
    // What is told may lead to anything, so the list is as it should be each time before anybody is told.
    for (let write = this.#writes[this.#head]; write !== undefined; write = this.#writes[this.#head]) {
      if (write.endIndex > commitIndex) break;
      this.#dropFirst();
      this.#admission.ended(write.lunId, write.lengthBytes);
      const { endIndex: index, ended } = write;
      this.#onApplied(write.records);
      if (write.forceUnitAccess && durableIndex < index) this.#durable.push({ index, ended });
      else ended(undefined);
    }
    this.#admission.letIn();
  }

  #dropFirst(): void {
    this.#head++;
    if (this.#head === this.#writes.length) {
      this.#writes = [];
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#writes = this.#writes.slice(this.#head);
      this.#head = 0;
    }
  }

  awaitDurable(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#durable.push({ index, ended: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  }

  onDurable(durableIndex: number): void {
    if (this.#durable.length === 0) return;
    const waiting = this.#durable;
    this.#durable = waiting.filter((waiter) => waiter.index > durableIndex);
    for (const waiter of waiting) if (waiter.index <= durableIndex) waiter.ended(undefined);
  }

  /** Until the lease is renewed. @throws DeviceError kind "not-serving" once it is not waited for any more */
  awaitLease(): Promise<void> {
    return new Promise((resolve, reject) => this.#lease.push({ resolve, reject }));
  }

  onLeaseRenewed(): void {
    for (const { resolve } of this.#takeLeaseWaiters()) resolve();
  }

  onLeaseLost(): void {
    for (const { reject } of this.#takeLeaseWaiters()) {
      reject(new DeviceError('not-serving', 'the lease lapsed and was not renewed in time'));
    }
  }

  #takeLeaseWaiters(): Waiter[] {
    const waiting = this.#lease;
    this.#lease = [];
    return waiting;
  }

  /** Until enough members are in sync. @throws DeviceError kind "too-few-copies" after the deadline */
  awaitCopies(deadlineMs: number): Promise<void> {
    return new Promise((resolve, reject) => this.#copies.push({ deadlineMs, resolve, reject }));
  }

  onCopies(areEnough: boolean, nowMs: number): void {
    const waiting = this.#copies;
    this.#copies = [];
    for (const waiter of waiting) {
      if (areEnough) waiter.resolve();
      else if (nowMs < waiter.deadlineMs) this.#copies.push(waiter);
      else waiter.reject(new DeviceError('too-few-copies', 'fewer copies are in sync than writes need'));
    }
  }

  /** Records from `fromIndex` on were not appended. */
  failFrom(fromIndex: number, error: () => DeviceError): void {
    const failed: PendingWrite[] = [];
    while (this.#writes.length > this.#head) {
      const last = this.#writes.at(-1) as PendingWrite;
      if (last.endIndex <= fromIndex) break;
      this.#writes.pop();
      this.#admission.ended(last.lunId, last.lengthBytes);
      failed.push(last);
    }
    for (const write of failed.reverse()) write.ended(error());
    this.#admission.letIn();
  }

  failAll(error: () => DeviceError): void {
    const unended = [...this.#writes.slice(this.#head), ...this.#durable];
    const waiters: Waiter[] = [...this.#lease, ...this.#copies];
    this.#writes = [];
    this.#head = 0;
    this.#durable = [];
    this.#lease = [];
    this.#copies = [];
    for (const { ended } of unended) ended(error());
    for (const waiter of waiters) waiter.reject(error());
    this.#admission.failAll(error);
  }
}
