/** Time comes in as a parameter everywhere, so that tests and the simulator can own it. */
export interface Clock {
  /** Monotonic milliseconds, with a fraction. Its zero has no meaning; leases and timeouts use this one. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch. Only for showing to people. */
  wallMs(): number;
}

/** A timer that has been set; call it to cancel. Calling it late or twice does nothing. */
export type CancelTimer = () => void;

export interface Timers {
  /** Calls `fire` once, `delayMs` from now. */
  setTimer(delayMs: number, fire: () => void): CancelTimer;
}

/** A clock and timers that move only when told to. */
export class ManualClock implements Clock, Timers {
  #nowMs: number;
  #nextId = 0;
  readonly #pending = new Map<number, { atMs: number; fire: () => void }>();

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, fire: () => void): CancelTimer {
    const id = this.#nextId++;
    this.#pending.set(id, { atMs: this.#nowMs + Math.max(0, delayMs), fire });
    return () => {
      this.#pending.delete(id);
    };
  }

  /** Moves time forward, firing due timers in order of time, then of creation. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const due = this.#earliestDue(untilMs);
      if (due === undefined) break;
      this.#pending.delete(due.id);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.fire();
    }
    this.#nowMs = untilMs;
  }

  #earliestDue(untilMs: number): { id: number; atMs: number; fire: () => void } | undefined {
    let best: { id: number; atMs: number; fire: () => void } | undefined;
    for (const [id, timer] of this.#pending) {
      if (timer.atMs > untilMs) continue;
      if (best === undefined || timer.atMs < best.atMs) best = { id, ...timer };
    }
    return best;
  }
}
