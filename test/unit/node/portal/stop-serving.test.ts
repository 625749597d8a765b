import { afterEach, expect, it } from 'vitest';
import type { CancelTimer } from '../../../../base/clock.ts';
import { STOP_SESSIONS_MS, WORKER_STOP_TIMEOUT_MS } from '../../../../node/portal/limits.ts';
import { stopServing } from '../../../../node/portal/stop-serving.ts';
import { connectInitiator } from '../../../../scripts/simulator/iscsi-initiator.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { INITIATOR, startTarget, TARGET, type TestTarget } from '../iscsi/target-fixture.ts';

let target: TestTarget | undefined;

afterEach(async () => {
  await target?.portal.close();
});

/** A session with a write under way, which ends when the log does: others that it needs have not come. */
async function withWriteUnderWay() {
  const started = await startTarget();
  target = started;
  const { host, port } = started;
  const initiator = await connectInitiator({ host, port, initiatorName: INITIATOR, targetName: TARGET });
  const open = started.device.holdWrites();
  const begun = started.device.calls.writes;
  const written = initiator.write(0, new Uint8Array(4096)).then(
    () => 'good',
    (error: unknown) => (error as Error).name,
  );
  while (started.device.calls.writes === begun) await new Promise((resolve) => setTimeout(resolve, 1));
  const told: string[] = [];
  const endWrite = (): void => {
    started.device.failure = new DeviceError('not-serving', 'the log has stopped');
    open();
  };
  const replication = {
    stop: async (): Promise<void> => {
      told.push('log stopped');
      endWrite();
    },
  };
  return { portal: started.portal, replication, written, told, endWrite };
}

/** Timers that fire when the test says so. */
function handTimers() {
  const set: { delayMs: number; fire: () => void }[] = [];
  const setTimer = (delayMs: number, fire: () => void): CancelTimer => {
    set.push({ delayMs, fire });
    return () => {};
  };
  return { set, setTimer };
}

it('what sessions still have in a log is waited for, and not for ever', async () => {
  const { portal, replication, written, told } = await withWriteUnderWay();
  const timers = handTimers();
  const stopped = stopServing({ portals: [portal], replication, timers }).then(() => told.push('stopped'));
  expect(await written, 'its session ends at once').toBe('ConnectionLostError');
  expect(told).toEqual([]);
  expect(timers.set.map(({ delayMs }) => delayMs)).toEqual([STOP_SESSIONS_MS]);
  timers.set[0]?.fire();
  await stopped;
  expect(told).toEqual(['log stopped', 'stopped']);
});

it('a log is stopped as soon as sessions have nothing in it', async () => {
  const { portal, replication, told, endWrite } = await withWriteUnderWay();
  const timers = handTimers();
  const stopped = stopServing({ portals: [portal], replication, timers }).then(() => told.push('stopped'));
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(told).toEqual([]);
  endWrite();
  await stopped;
  expect(told).toEqual(['log stopped', 'stopped']);
});

it('a worker is given the time that its sessions are', () => {
  expect(WORKER_STOP_TIMEOUT_MS).toBeGreaterThan(2 * STOP_SESSIONS_MS);
});
