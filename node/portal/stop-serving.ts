import type { Timers } from '../../base/clock.ts';
import { STOP_SESSIONS_MS } from './limits.ts';

export interface ServingParts {
  readonly portals: readonly { close(): Promise<void> }[];
  readonly replication: { stop(): Promise<void> };
  readonly timers: Timers;
}

/**
 * Ends sessions, then the logs of the groups. What sessions still have in a log is waited for, but not for ever: a write
 * may need members that do not come. When its log stops it fails, and nobody is left to be told.
 */
export async function stopServing({ portals, replication, timers }: ServingParts): Promise<void> {
  const closing = Promise.all(portals.map((portal) => portal.close()));
  await new Promise<void>((resolve, reject) => {
    const cancel = timers.setTimer(STOP_SESSIONS_MS, resolve);
    closing.then(() => {
      cancel();
      resolve();
    }, reject);
  });
  await replication.stop();
  await closing;
}
