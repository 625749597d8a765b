import type { CancelTimer, Clock, Timers } from '../../base/clock.ts';

/** The clock and timers of the process, for tests that use real sockets and files. */
export const realTime: Clock & Timers = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs: number, fire: () => void): CancelTimer {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Waits until `condition` holds; fails with `what` after `withinMs`. */
export async function eventually(what: string, condition: () => boolean, withinMs = 8000): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > untilMs) throw new Error(`within ${withinMs} ms it did not happen that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
