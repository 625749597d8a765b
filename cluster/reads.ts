import type { CancelTimer, Timers } from '../base/clock.ts';
import type { RandomSource } from '../base/random.ts';
import { MAX_WAITING_READS, READ_RETRY_MS, READ_TIMEOUT_MS } from './limits.ts';
import type { LogPosition } from './log.ts';
import { failure } from './proposals.ts';

interface Waiter {
  readonly resolve: (position: LogPosition) => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimer: CancelTimer;
}

const CONTEXT_BYTES = 16;

/**
 * Asks the leader for the end of the log on behalf of any number of readers: those that come while a question is
 * under way wait for the next one, since the answer may be older than they are.
 */
export class Reads {
  readonly #timers: Timers;
  readonly #start: Uint8Array;
  readonly #ask: (context: Uint8Array) => void;
  #asking = new Set<Waiter>();
  #next = new Set<Waiter>();
  #counter = 0;
  /** The question under way was asked for the first time, and last, with these counters. */
  #firstCounter = 0;
  #cancelRetry: CancelTimer = () => {};

  /** @param ask puts the question; `context` comes back with the answer, if one comes */
  constructor(timers: Timers, random: RandomSource, ask: (context: Uint8Array) => void) {
    this.#timers = timers;
    this.#start = random.bytes(8);
    this.#ask = ask;
  }

  async tail(): Promise<LogPosition> {
    if (this.#asking.size + this.#next.size >= MAX_WAITING_READS) {
      throw failure('unavailable', 'queue-full', `${MAX_WAITING_READS} reads are waiting already`);
    }
    return await new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve,
        reject,
        cancelTimer: this.#timers.setTimer(READ_TIMEOUT_MS, () => this.#timedOut(waiter)),
      };
      this.#next.add(waiter);
      if (this.#asking.size === 0) this.#askNext();
    });
  }

  #askNext(): void {
    this.#cancelRetry();
    if (this.#next.size === 0) return;
    this.#asking = this.#next;
    this.#next = new Set();
    this.#firstCounter = this.#counter + 1;
    this.#askAgain();
  }

  #askAgain(): void {
    this.#counter += 1;
    const context = new Uint8Array(CONTEXT_BYTES);
    context.set(this.#start);
    new DataView(context.buffer).setBigUint64(8, BigInt(this.#counter));
    this.#cancelRetry = this.#timers.setTimer(READ_RETRY_MS, () => this.#askAgain());
    this.#ask(context);
  }

  #timedOut(waiter: Waiter): void {
    this.#next.delete(waiter);
    const message = `no leader has confirmed its place within ${READ_TIMEOUT_MS} ms`;
    if (this.#asking.delete(waiter) && this.#asking.size === 0) this.#askNext();
    waiter.reject(failure('unavailable', 'no-leader', message));
  }

  /** An answer has come; one to a question of another start, or to an earlier one, is ignored. */
  answered(context: Uint8Array, position: LogPosition): void {
    if (context.length !== CONTEXT_BYTES || Buffer.compare(context.subarray(0, 8), this.#start) !== 0) return;
    const view = new DataView(context.buffer, context.byteOffset, context.byteLength);
    if (this.#asking.size === 0 || Number(view.getBigUint64(8)) < this.#firstCounter) return;
    const answered = this.#asking;
    this.#asking = new Set();
    for (const waiter of answered) {
      waiter.cancelTimer();
      waiter.resolve(position);
    }
    this.#askNext();
  }

  stop(): void {
    this.#cancelRetry();
    for (const waiter of [...this.#asking, ...this.#next]) {
      waiter.cancelTimer();
      waiter.reject(failure('unavailable', 'stopping', 'this node is stopping'));
    }
    this.#asking.clear();
    this.#next.clear();
  }
}
