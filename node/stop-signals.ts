import { SAME_ORDER_MS } from './limits.ts';

/**
 * What signals to end come to: the first an orderly stop, one that comes later than a repetition of it would an end at once.
 */
export class StopSignals {
  readonly #nowMs: () => number;
  #firstMs: number | undefined;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** A signal has come. */
  next(): 'stop' | 'nothing' | 'end' {
    if (this.#firstMs === undefined) {
      this.#firstMs = this.#nowMs();
      return 'stop';
    }
    return this.#nowMs() - this.#firstMs < SAME_ORDER_MS ? 'nothing' : 'end';
  }
}
