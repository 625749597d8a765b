import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../storage/block-device.ts';
import {
  FAIR_FLOOR_BYTES,
  PACE_RETURN_MIN_MS,
  PACE_SLOW_FOR_MS,
  TRIM_GROWTH_BYTES,
} from '../../../storage/replication/limits.ts';
import { DISK_BYTES, QuietFabric } from './quiet-fabric.ts';

const TIMEOUT_MS = 120_000;
/** A disk of 32 MB/s: few writes fill it, so that few have to be simulated. */
const MS_PER_MIB = 32;
/** What is in the log and not yet committed takes such a disk 600 ms, at once: a little longer, and it would count as one that stands still. */
const SLOW_MB_PER_SECOND = 7;
const MIB = 1024 * 1024;
const BIG = Buffer.alloc(64 * 1024, 1);
const SMALL = Buffer.alloc(4096, 2);
/** By then it has been found slow and is out of the set, and what it owed is written. */
const FOUND_MS = PACE_SLOW_FOR_MS + 2_500;

interface Load {
  /** Bytes a second from now on. */
  rate(overMs: number): Promise<number>;
  stop(): void;
}

/** So many disks are written to all the while, each with so many writes at a time. */
async function loaded(fabric: QuietFabric, luns: number, depth: number): Promise<Load> {
  const disks = Array.from({ length: luns }, (_, i) => ({ group: 'g', lunId: i + 1 }));
  await fabric.serve(disks);
  const devices = disks.map(({ lunId }) => fabric.group('g').openDevice(lunId) as BlockDevice);
  const writers = devices.flatMap((device) =>
    Array.from({ length: depth }, (_, i) =>
      fabric.repeat(() => device.write(i * 128, [BIG], { forceUnitAccess: false })),
    ),
  );
  const bytes = (): number => writers.reduce((sum, { tookMs }) => sum + tookMs.length * BIG.length, 0);
  await fabric.run(1_000);
  return {
    rate: async (overMs) => {
      const before = bytes();
      await fabric.run(overMs);
      return ((bytes() - before) * 1_000) / overMs;
    },
    stop: () => {
      for (const writer of writers) writer.stop();
    },
  };
}

const slowDown = (fabric: QuietFabric, nodeId: string, megabytesPerSecond: number): void => {
  fabric.disk(nodeId, 'g').msPerMib = MIB / 1_000 / megabytesPerSecond;
};

const slow = (fabric: QuietFabric) => fabric.group('g').status().slow;

describe('a backup that is just fast enough to stay', { timeout: TIMEOUT_MS }, () => {
  it.each([
    ['one client fills the pipeline', 1, 128, SLOW_MB_PER_SECOND],
    ['many clients have 10 MB under way', 40, FAIR_FLOOR_BYTES / BIG.length, 12],
    ['one client writes little at a time', 1, 4, 0.5],
  ])('does not hold clients to its pace for long where %s', async (_, luns, depth, megabytesPerSecond) => {
    const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB });
    const load = await loaded(fabric, luns, depth);
    const before = await load.rate(2_000);
    expect(before).toBeGreaterThan(0.3 * (1_000 / MS_PER_MIB) * MIB);
    slowDown(fabric, 'n2', megabytesPerSecond);
    await fabric.run(500);
    // It is fast enough for everything else that is asked of a member.
    const held = await load.rate(PACE_SLOW_FOR_MS - 1_000);
    expect(held).toBeLessThan(before / 2);
    expect(fabric.inSync('g')).toEqual(['n1', 'n2', 'n3']);
    await fabric.run(FOUND_MS);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    expect(slow(fabric)).toMatchObject([{ nodeId: 'n2' }]);
    expect(slow(fabric)[0]?.returnsInMs).toBeGreaterThan(0);
    expect(await load.rate(2_000)).toBeGreaterThan(0.8 * before);
  });

  it('is kept where only one copy would be left, and is spoken of', async () => {
    const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB });
    const load = await loaded(fabric, 1, 128);
    fabric.setInSync('g', ['n1', 'n2']);
    slowDown(fabric, 'n2', SLOW_MB_PER_SECOND);
    await fabric.run(2 * FOUND_MS);
    expect(fabric.inSync('g')).toEqual(['n1', 'n2']);
    expect(slow(fabric)).toMatchObject([{ nodeId: 'n2', returnsInMs: undefined }]);
    expect(await load.rate(1_000)).toBeGreaterThan(0);
  });

  it('is kept where the others are as slow', async () => {
    const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB });
    await loaded(fabric, 1, 128);
    for (const nodeId of ['n2', 'n3']) slowDown(fabric, nodeId, SLOW_MB_PER_SECOND);
    await fabric.run(2 * FOUND_MS);
    expect(fabric.inSync('g')).toEqual(['n1', 'n2', 'n3']);
    expect(slow(fabric)).toEqual([]);
  });

  it('does not have the log kept for it until the disk of the primary is full', async () => {
    const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB });
    const load = await loaded(fabric, 1, 128);
    slowDown(fabric, 'n2', SLOW_MB_PER_SECOND);
    await fabric.run(FOUND_MS);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    // The same 8 MiB are written over and over: nothing but n2 needs more of the log than these.
    await fabric.run(8_000);
    const primary = fabric.disk('n1', 'g');
    const backup = fabric.disk('n2', 'g');
    expect(primary.firstIndex).toBeLessThanOrEqual(backup.nextIndex);
    fabric.freeBytes.set('n1', DISK_BYTES / 32);
    await fabric.run(6_000);
    const keptBytes = (primary.nextIndex - primary.firstIndex) * BIG.length;
    expect(keptBytes).toBeLessThan(TRIM_GROWTH_BYTES + 32 * MIB);
    expect(await load.rate(1_000)).toBeGreaterThan(0.5 * (1_000 / MS_PER_MIB) * MIB);
  });

  it('comes back when it has caught up, holds clients up once more, and stays away for longer', async () => {
    const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB, letsIn: true });
    const load = await loaded(fabric, 1, 128);
    slowDown(fabric, 'n2', SLOW_MB_PER_SECOND);
    await fabric.run(FOUND_MS);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    load.stop();
    // Little is written, so that it can come near.
    const device = fabric.group('g').openDevice(1) as BlockDevice;
    const little = fabric.repeat(() => device.write(0, [SMALL], { forceUnitAccess: false }), 20);
    await fabric.run(PACE_RETURN_MIN_MS / 2);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    await fabric.run(3 * PACE_RETURN_MIN_MS);
    expect([...fabric.inSync('g')].sort()).toEqual(['n1', 'n2', 'n3']);
    expect(slow(fabric)).toEqual([]);
    little.stop();
    for (let i = 0; i < 128; i++) {
      fabric.repeat(() => device.write(i * 128, [BIG], { forceUnitAccess: false }));
    }
    await fabric.run(FOUND_MS);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    expect(slow(fabric)[0]?.returnsInMs).toBeGreaterThan(PACE_RETURN_MIN_MS);
  });
});
