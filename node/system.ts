import { randomBytes, randomInt } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { pino } from 'pino';
import type { CancelTimer, Clock, Timers } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { RandomSource } from '../base/random.ts';

/** The real clock, timers, randomness and log, made once by a composition root and passed down. */

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

export const systemTimers: Timers = {
  setTimer(delayMs: number, fire: () => void): CancelTimer {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

export const systemRandom: RandomSource = {
  below: (bound) => randomInt(bound),
  bytes: (length) => randomBytes(length),
};

/** What looking for the next request before sleeping needs of the thread. */
export const systemPolling = {
  clock: systemClock,
  nextTurn: (turn: () => void): void => {
    setImmediate(turn);
  },
  involuntarySwitches: (): number => process.resourceUsage().involuntaryContextSwitches,
};

/**
 * A logger writing JSON lines to standard error, each with the node and the component.
 * @param level the least level written
 * @param also written with every line
 */
export function systemLogger(
  nodeId: string,
  level: string,
  also: Readonly<Record<string, unknown>> = {},
): (component: string) => Logger {
  // Synchronous, so that the last words before a crash are not lost.
  const root = pino({ level, base: { node: nodeId, ...also } }, pino.destination({ dest: 2, sync: true }));
  return (component) => {
    const child = root.child({ component });
    return {
      debug: (event, fields) => child.debug({ ...fields, event }),
      info: (event, fields) => child.info({ ...fields, event }),
      warn: (event, fields) => child.warn({ ...fields, event }),
      error: (event, fields) => child.error({ ...fields, event }),
    };
  };
}
