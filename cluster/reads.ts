import type { CancelTimer, Clock, Timers } from '../base/clock.ts';
import type { RandomSource } from '../base/random.ts';
import { MAX_WAITING_READS, READ_RETRY_MS, READ_TIMEOUT_MS } from './limits.ts';
import type { LogPosition } from './log.ts';
import { failure, noLeader } from './proposals.ts';

interface Waiter {
  readonly resolve: (position: LogPosition) => void;
  readonly reject: (error: Error) => void;
  readonly deadlineMs: number;
}

const CONTEXT_BYTES = 16;

/**
 * Asks the leader for the end of the log on behalf of any number of readers: those that come while a question is
 * under way wait for the next one, since the answer may be older than they are.
 */
export class Reads {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #start: Uint8Array;
  readonly #ask: (context: Uint8Array) => void;
  #asking = new Set<Waiter>();
  #next = new Set<Waiter>();
  #counter = 0;
  /** The question under way was asked for the first time, and last, with these counters. */
  #firstCounter = 0;
  /** When the question under way is to be put again. */
  #askAgainMs = 0;
  #cancelTimer: CancelTimer | undefined;

  /** @param ask puts the question; `context` comes back with the answer, if one comes */
  constructor(clock: Clock, timers: Timers, random: RandomSource, ask: (context: Uint8Array) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#start = random.bytes(8);
    this.#ask = ask;
  }

  async tail(): Promise<LogPosition> {
    if (this.#asking.size + this.#next.size >= MAX_WAITING_READS) {
      throw failure('unavailable', 'queue-full', `${MAX_WAITING_READS} reads are waiting already`);
    }
    return await new Promise((resolve, reject) => {
      const deadlineMs = this.#clock.monotonicMs() + READ_TIMEOUT_MS;
      this.#next.add({ resolve, reject, deadlineMs });
      if (this.#asking.size === 0) this.#askNext();
      this.#watch();
    });
  }

  #askNext(): void {
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
    this.#askAgainMs = this.#clock.monotonicMs() + READ_RETRY_MS;
    this.#ask(context);
  }

  /** One timer for all, left running while reads come and go: most are answered long before it fires. */
  #watch(): void {
    if (this.#cancelTimer !== undefined) return;
    const [oldest] = this.#asking;
    const untilMs = Math.min(this.#askAgainMs, oldest?.deadlineMs ?? Number.POSITIVE_INFINITY);
    this.#cancelTimer = this.#timers.setTimer(untilMs - this.#clock.monotonicMs(), () => {
      this.#cancelTimer = undefined;
      this.#giveUpLate();
      if (this.#asking.size === 0) return;
      if (this.#clock.monotonicMs() >= this.#askAgainMs) this.#askAgain();
      this.#watch();
    });
  }

  #giveUpLate(): void {
    const nowMs = this.#clock.monotonicMs();
    const message = `no leader has confirmed its place within ${READ_TIMEOUT_MS} ms`;
    for (const waiters of [this.#asking, this.#next]) {
      for (const waiter of waiters) {
        // They came in the order of their deadlines.
        if (waiter.deadlineMs > nowMs) break;
        waiters.delete(waiter);
        waiter.reject(noLeader(message));
      }
    }
    if (this.#asking.size === 0) this.#askNext();
  }

  /** An answer has come; one to a question of another start, or to an earlier one, is ignored. */
  answered(context: Uint8Array, position: LogPosition): void {
    if (context.length !== CONTEXT_BYTES || Buffer.compare(context.subarray(0, 8), this.#start) !== 0) return;
    const view = new DataView(context.buffer, context.byteOffset, context.byteLength);
    if (this.#asking.size === 0 || Number(view.getBigUint64(8)) < this.#firstCounter) return;
    const answered = this.#asking;
    this.#asking = new Set();
    for (const waiter of answered) waiter.resolve(position);
    this.#askNext();
  }

  stop(): void {
    this.#cancelTimer?.();
    for (const waiter of [...this.#asking, ...this.#next]) {
      waiter.reject(failure('unavailable', 'stopping', 'this node is stopping'));
    }
    this.#asking.clear();
    this.#next.clear();
  }
}
