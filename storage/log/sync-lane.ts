import type { DurableMarker } from './durable-marker.ts';
import type { FirstFailure } from './first-failure.ts';
import type { LaneProgress } from './lane-progress.ts';
import type { LogTail } from './log-tail.ts';
import type { WaitingSync } from './waiting-calls.ts';

/** How far the write lane has come. */
export interface WriteProgress {
  readonly calls: LaneProgress;
  /** After the last record that is written. */
  writtenNextIndex(): number;
}

/**
 * The lane that makes what is written durable, beside the one that writes: one fdatasync at a time, of everything that
 * is written when it begins. Calls that come meanwhile share the next.
 */
export class SyncLane {
  readonly #tail: LogTail;
  readonly #marker: DurableMarker;
  readonly #first: FirstFailure;
  readonly #written: WriteProgress;
  #durableNextIndex: number;
  #waiters: WaitingSync[] = [];
  #syncing: Promise<void> | undefined;
  #isHeld = false;

  /** All that the tail has must be durable. */
  constructor(tail: LogTail, marker: DurableMarker, first: FirstFailure, written: WriteProgress) {
    this.#tail = tail;
    this.#marker = marker;
    this.#first = first;
    this.#written = written;
    this.#durableNextIndex = tail.nextIndex;
  }

  get durableNextIndex(): number {
    return this.#durableNextIndex;
  }

  get waitingCalls(): number {
    return this.#waiters.length;
  }

  /** @param waiter resolved once a sync has succeeded that began after `afterCalls` calls had left the write lane */
  enter(waiter: WaitingSync): void {
    this.#waiters.push(waiter);
    this.begin();
  }

  /** Whenever calls have left the write lane. Does nothing where there is nothing to do, or one is under way. */
  begin(): void {
    if (this.#syncing !== undefined || this.#isHeld) return;
    const failure = this.#first.known;
    if (failure !== undefined) {
      for (const waiter of this.#waiters.splice(0)) waiter.reject(failure);
      return;
    }
    const isReady = ({ afterCalls }: WaitingSync): boolean => afterCalls <= this.#written.calls.left;
    if (!this.#waiters.some(isReady)) return;
    const ready = this.#waiters.filter(isReady);
    this.#waiters = this.#waiters.filter((waiter) => !isReady(waiter));
    if (this.#durableNextIndex === this.#written.writtenNextIndex()) {
      for (const waiter of ready) waiter.resolve();
      return;
    }
    this.#syncing = this.#run(ready);
  }

  /** Resolves once none is under way. */
  async ended(): Promise<void> {
    await this.#syncing;
  }

  /** None is under way while `run` is, which begins a segment and says so by `begun`. */
  async whileHeld(run: () => Promise<void>): Promise<void> {
    this.#isHeld = true;
    try {
      await this.#syncing;
      await run();
    } finally {
      this.#isHeld = false;
    }
  }

  /** A segment begins at `index`; all before it is durable. */
  begun(index: number): void {
    this.#durableNextIndex = index;
  }

  async #run(waiters: readonly WaitingSync[]): Promise<void> {
    const nextIndex = this.#written.writtenNextIndex();
    const position = this.#tail.endPosition;
    try {
      await this.#tail.sync();
      this.#durableNextIndex = nextIndex;
      for (const waiter of waiters) waiter.resolve();
    } catch (error) {
      const failure = this.#first.errorFor('writing the log', error);
      for (const waiter of waiters) waiter.reject(failure);
    }
    this.#syncing = undefined;
    this.begin();
    // Under load, records written later carry the durable end themselves.
    if (this.#syncing === undefined) this.#noteDurable(position);
  }

  #noteDurable(position: number): void {
    if (this.#first.known !== undefined) return;
    this.#marker
      .advance(position)
      .catch((error: unknown) => this.#first.note('writing the durable marker', error));
  }
}
