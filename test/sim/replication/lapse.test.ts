import { describe, expect, it } from 'vitest';
import { type BlockDevice, DeviceError } from '../../../storage/block-device.ts';
import { LEASE_WAIT_MS, TICK_MS } from '../../../storage/replication/limits.ts';
import { QuietFabric } from './quiet-fabric.ts';

const BLOCK = Buffer.alloc(4096, 3);
/** From the last answer that a member gives until its lease has lapsed. */
const LEASE_MS = 600;

interface Ending {
  readonly endedMs: number;
  readonly error: string | undefined;
}

async function servingGroup(): Promise<{ fabric: QuietFabric; device: BlockDevice }> {
  const fabric = new QuietFabric(['g'], { msPerMib: 0 });
  await fabric.serve([{ group: 'g', lunId: 1 }]);
  fabric.service.length = 0;
  return { fabric, device: fabric.group('g').openDevice(1) as BlockDevice };
}

function ended(fabric: QuietFabric, work: Promise<unknown>): { ending: Ending | undefined } {
  const waiting: { ending: Ending | undefined } = { ending: undefined };
  const end = (error: string | undefined): void => {
    waiting.ending = { endedMs: fabric.world.nowMs, error };
  };
  work.then(
    () => end(undefined),
    (error: unknown) => end(error instanceof DeviceError ? error.kind : String(error)),
  );
  return waiting;
}

/** Nobody answers, and nothing is decided, as where the disks and processors of all nodes are busy with something else. */
function strand(fabric: QuietFabric, forMs: number): void {
  fabric.hasQuorum = false;
  for (const backup of ['n2', 'n3']) fabric.pause(backup, forMs);
}

async function untilCeased(fabric: QuietFabric): Promise<number> {
  for (let i = 0; i < 200 && fabric.service.length === 0; i++) await fabric.run(TICK_MS / 5);
  expect(fabric.service).toMatchObject([{ is: 'ceased' }]);
  return fabric.service[0]?.atMs ?? 0;
}

/** Reads, a write and a flush, of which each waits for the lease in its own way. */
function commands(fabric: QuietFabric, device: BlockDevice): { ending: Ending | undefined }[] {
  return [
    ended(fabric, device.read(0, 8)),
    ended(fabric, device.read(0, 0)),
    ended(fabric, device.write(0, [BLOCK], { forceUnitAccess: false })),
    ended(fabric, device.flush()),
  ];
}

describe('while a lease has lapsed that its primary may still renew', () => {
  it('commands wait, whenever they came, and are carried out once it is renewed', async () => {
    const { fabric, device } = await servingGroup();
    strand(fabric, LEASE_MS + LEASE_WAIT_MS - 4 * TICK_MS);
    await untilCeased(fabric);
    const waiting = commands(fabric, device);
    await fabric.run(LEASE_WAIT_MS / 2);
    waiting.push(...commands(fabric, device));
    await fabric.run(LEASE_WAIT_MS / 2 - 5 * TICK_MS);
    expect(waiting.map(({ ending }) => ending)).toEqual(waiting.map(() => undefined));
    await fabric.run(10 * TICK_MS);
    expect(waiting.map(({ ending }) => ending?.error ?? 'good')).toEqual(waiting.map(() => 'good'));
    expect(fabric.service.map(({ is }) => is)).toEqual(['ceased', 'serving']);
  });

  it('all of them are refused in the moment in which sessions are given up, and those that come then at once', async () => {
    const { fabric, device } = await servingGroup();
    strand(fabric, 60_000);
    const ceasedMs = await untilCeased(fabric);
    const waiting = [ended(fabric, device.read(0, 8)), ended(fabric, device.read(0, 0))];
    await fabric.run(LEASE_WAIT_MS - 2 * TICK_MS);
    const late = ended(fabric, device.read(0, 8));
    expect([...waiting, late].map(({ ending }) => ending)).toEqual([undefined, undefined, undefined]);
    await fabric.run(5 * TICK_MS);
    const givenUpMs = fabric.service[1]?.atMs ?? 0;
    expect(fabric.service[1]?.is).toBe('given up');
    expect(givenUpMs - ceasedMs).toBeGreaterThanOrEqual(LEASE_WAIT_MS);
    for (const { ending } of [...waiting, late]) {
      expect(ending).toEqual({ endedMs: givenUpMs, error: 'not-serving' });
    }
    const after = ended(fabric, device.read(0, 8));
    await fabric.run(2 * TICK_MS);
    expect(after.ending?.error).toBe('not-serving');
  });

  it('a pause of this very process counts for nothing', async () => {
    const { fabric, device } = await servingGroup();
    strand(fabric, LEASE_MS + 3 * LEASE_WAIT_MS);
    await untilCeased(fabric);
    const waiting = commands(fabric, device);
    await fabric.run(LEASE_WAIT_MS - 3 * TICK_MS);
    fabric.pause('n1', 2 * LEASE_WAIT_MS + 3 * TICK_MS);
    await fabric.run(3 * LEASE_WAIT_MS);
    expect(waiting.map(({ ending }) => ending?.error ?? 'good')).toEqual(waiting.map(() => 'good'));
    expect(fabric.service.map(({ is }) => is)).toEqual(['ceased', 'serving']);
  });

  it('commands are refused at once when another node has been made primary', async () => {
    const { fabric, device } = await servingGroup();
    strand(fabric, 60_000);
    await untilCeased(fabric);
    const waiting = commands(fabric, device);
    await fabric.run(LEASE_WAIT_MS / 2);
    fabric.move('g', 'n2');
    await fabric.run(TICK_MS);
    expect(waiting.map(({ ending }) => ending?.error)).toEqual(waiting.map(() => 'not-serving'));
    expect(fabric.service.map(({ is }) => is)).toEqual(['ceased', 'given up']);
  });
});
