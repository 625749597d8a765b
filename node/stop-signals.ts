/**
 * A service manager that stops a service signals each of its processes, and the one that supervises this one passes on its own: so
 * the same order may come twice.
 */
export const SAME_ORDER_MS = 1_000;

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
