import type { Clock } from '../../base/clock.ts';
import {
  MAX_POLL_CREDIT_MS,
  MAX_POLL_SWITCHES,
  POLL_AFTER_REQUESTS,
  POLL_CHECK_REQUESTS,
  POLL_MIN_GAP_MS,
  POLL_MS,
  POLL_REST_MS,
  POLL_SHARED_REST_MS,
  POLL_VAIN_SHARE,
} from './limits.ts';

export interface PollingHost {
  readonly clock: Clock;
  /** Runs its argument in the next turn of the event loop, which then does not sleep. */
  nextTurn(turn: () => void): void;
  /** How often this process has been set aside for another one although it had something to do; only ever more. */
  involuntarySwitches(): number;
}

/**
 * Looks for the next request of an initiator that sends one at a time, for a moment, instead of going to sleep at once: to
 * be woken takes longer than to answer a short read. One for each thread.
 *
 * It pays where the next one comes within that moment and yet not at once, so it is done only after several of one
 * initiator did so one after another, with none of anybody else's between them, and ends with the first that did not, or
 * when others want the processor. What is spent in vain stays below a share of the time that passes (docs/adr/0022-a-moment-of-polling.md).
 */
export class IdlePolling {
  readonly #host: PollingHost;
  #isAllowed: boolean;
  #last: object | undefined;
  /** When the last request had been dealt with. */
  #lastMs = Number.NEGATIVE_INFINITY;
  #untilMs = 0;
  #lastTurnMs = 0;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** Requests of one initiator of which each came soon after the one before had been dealt with. */
  #streak = 0;
  /** What may still be spent in vain. */
  #creditMs = MAX_POLL_CREDIT_MS;
  #isPolling = false;
  /** Requests found by polling since it was last asked how often the process was set aside. */
  #unchecked = 0;
  #switches: number;

  constructor(host: PollingHost, isAllowed: boolean) {
    this.#host = host;
    this.#isAllowed = isAllowed;
    this.#switches = host.involuntarySwitches();
  }

  get isPolling(): boolean {
    return this.#isPolling;
  }

  /** Where it is not, it ends with the turn. */
  set isAllowed(isAllowed: boolean) {
    this.#isAllowed = isAllowed;
  }

  /**
   * A request has come alone and was dealt with.
   * @param initiator whose it was: the connection, or what else is its own
   * @param cameMs when it came; what was done for it since is not time that was waited
   */
  served(initiator: object, cameMs: number): void {
    if (!this.#isAllowed) return;
    const nowMs = this.#host.clock.monotonicMs();
    this.#creditMs = Math.min(MAX_POLL_CREDIT_MS, this.#creditMs + (nowMs - this.#lastMs) * POLL_VAIN_SHARE);
    this.#streak = initiator === this.#last && this.#isWorthIt(cameMs - this.#lastMs) ? this.#streak + 1 : 0;
    this.#last = initiator;
    this.#lastMs = nowMs;
    if (this.#isPolling) {
      this.#turned(cameMs, nowMs);
      this.#found(nowMs);
    }
    if (this.#streak < POLL_AFTER_REQUESTS || this.#creditMs < POLL_MS || nowMs < this.#restUntilMs) return;
    this.#untilMs = nowMs + POLL_MS;
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#lastTurnMs = nowMs;
    this.#host.nextTurn(this.#turn);
  }

  /** One that sleeps sees the time that it takes to be woken as well, which is what is to be gained. */
  #isWorthIt(gapMs: number): boolean {
    return gapMs <= POLL_MS && (this.#isPolling || gapMs >= POLL_MIN_GAP_MS);
  }

  readonly #turn = (): void => {
    const nowMs = this.#host.clock.monotonicMs();
    const overMs = nowMs - this.#untilMs;
    this.#turned(nowMs, nowMs);
    if (overMs < 0 && nowMs >= this.#restUntilMs && this.#isAllowed) {
      this.#host.nextTurn(this.#turn);
      return;
    }
    this.#isPolling = false;
    this.#streak = 0;
    // A connection that has ended is not to be kept.
    this.#last = undefined;
    // Where others had the processor meanwhile it was more than it should have been.
    this.#creditMs -= Math.max(0, POLL_MS + overMs);
  };

  /** It came to look again, and after that to the end of what it found. */
  #turned(lookedMs: number, nowMs: number): void {
    // A thread that is always ready waits its turn behind those that have slept.
    if (lookedMs - this.#lastTurnMs > POLL_MS) this.#restUntilMs = nowMs + POLL_REST_MS;
    this.#lastTurnMs = nowMs;
  }

  /**
   * Where somebody whose work is short is on the same processor, each of its turns takes no longer than the moment, and yet
   * this thread is only in its way.
   */
  #found(nowMs: number): void {
    if (++this.#unchecked < POLL_CHECK_REQUESTS) return;
    this.#unchecked = 0;
    const switches = this.#host.involuntarySwitches();
    if (switches - this.#switches > MAX_POLL_SWITCHES) this.#restUntilMs = nowMs + POLL_SHARED_REST_MS;
    this.#switches = switches;
  }
}
