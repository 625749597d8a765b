import { setTimeout as sleep } from 'node:timers/promises';
import { VALUE_BYTES } from './load.ts';
import { type KeyValueConnection, NODE_COUNT, type SystemUnderTest } from './system-under-test.ts';

const PROBE_EVERY_MS = 20;
const GIVE_UP_AFTER_MS = 20_000;
/** So that kills fall at any moment between two heartbeats. */
const LONGEST_REST_MS = 400;

/**
 * SIGKILLs the leader and finds out how long nobody can write: a put goes out every 20 ms through each surviving
 * node, each on its own, since one that was forwarded to the dead leader may hang. What counts is the first
 * answer to a put that was sent after the kill.
 */
export async function failoverMs(system: SystemUnderTest): Promise<number> {
  await system.whole();
  await sleep(Math.random() * LONGEST_REST_MS);
  const leader = await system.leader();
  const survivors = Array.from({ length: NODE_COUNT }, (_, node) => node).filter((node) => node !== leader);
  const connections = await Promise.all(survivors.map((node) => system.connect(node)));
  try {
    // Connected before, as a client in use would be.
    await Promise.all(connections.map((connection) => connection.get('k000000')));
    const killing = system.kill(leader);
    const startMs = performance.now();
    const resumedMs = await firstWriteMs(connections, startMs);
    await killing;
    return resumedMs - startMs;
  } finally {
    for (const connection of connections) connection.close();
    await system.restart(leader);
  }
}

async function firstWriteMs(connections: readonly KeyValueConnection[], startMs: number): Promise<number> {
  const value = new Uint8Array(VALUE_BYTES);
  return await new Promise((resolve, reject) => {
    const probe = (): void => {
      for (const [i, connection] of connections.entries()) {
        connection.put(`failover${i}`, value).then(
          () => {
            clearInterval(timer);
            resolve(performance.now());
          },
          () => {},
        );
      }
      if (performance.now() - startMs < GIVE_UP_AFTER_MS) return;
      clearInterval(timer);
      reject(new Error(`nobody could write for ${GIVE_UP_AFTER_MS / 1000} s`));
    };
    const timer = setInterval(probe, PROBE_EVERY_MS);
    probe();
  });
}
