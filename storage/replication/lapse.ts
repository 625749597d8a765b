import { LAPSE_LOOK_MAX_MS, LEASE_WAIT_MS } from './limits.ts';

/**
 * A lease that has lapsed and may come back, until it has been waited for long enough. Only time in which this process was
 * running is counted: after a pause, what renews the lease may already have come, and be waiting to be read. So what
 * passed since the last look never decides by itself.
 */
export class Lapse {
  #countedMs = 0;
  #lastLookMs: number;

  /** @param nowMs monotonic */
  constructor(nowMs: number) {
    this.#lastLookMs = nowMs;
  }

  /** To be asked with every tick. @returns whether nobody is to wait any more */
  isOver(nowMs: number): boolean {
    const isOver = this.#countedMs >= LEASE_WAIT_MS;
    this.#countedMs += Math.min(nowMs - this.#lastLookMs, LAPSE_LOOK_MAX_MS);
    this.#lastLookMs = nowMs;
    return isOver;
  }
}
