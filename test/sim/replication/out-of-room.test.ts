import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../storage/block-device.ts';
import { MAX_LOG_RESERVE_BYTES } from '../../../storage/replication/limits.ts';
import { DISK_BYTES, QuietFabric } from './quiet-fabric.ts';

const TIMEOUT_MS = 120_000;
const SMALL = Buffer.alloc(4096, 2);
const NODES = ['n1', 'n2', 'n3'];
/** Less than the reserve. */
const LOW_BYTES = MAX_LOG_RESERVE_BYTES - 1;
/** Little more than that. */
const FILLING_BYTES = 2 * LOW_BYTES;

/** Writes again and again, and counts what comes of it. */
function writing(fabric: QuietFabric): { written: number; refused: number } {
  const device = fabric.group('g').openDevice(1) as BlockDevice;
  const counts = { written: 0, refused: 0 };
  fabric.repeat(async () => {
    try {
      await device.write(0, [SMALL], { forceUnitAccess: false });
      counts.written++;
    } catch (error) {
      expect((error as { kind?: string }).kind).toBe('no-space');
      counts.refused++;
    }
  }, 20);
  return counts;
}

async function served(): Promise<QuietFabric> {
  const fabric = new QuietFabric(['g'], { msPerMib: 0 });
  await fabric.serve([{ group: 'g', lunId: 1 }]);
  return fabric;
}

describe('a group whose disks have only their reserve left', { timeout: TIMEOUT_MS }, () => {
  it('does without a backup that is alone with that, and no write fails', async () => {
    const fabric = await served();
    const counts = writing(fabric);
    await fabric.run(1000);
    fabric.freeBytes.set('n2', LOW_BYTES);
    await fabric.run(2000);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    expect(fabric.group('g').status().room).toEqual({
      isExhausted: false,
      isRunningOut: false,
      lowMembers: ['n2'],
    });
    expect(counts.refused).toBe(0);
    expect(counts.written).toBeGreaterThan(100);
  });

  it('keeps its copies and refuses space where all of them are, until there is room again', async () => {
    const fabric = await served();
    const counts = writing(fabric);
    await fabric.run(1000);
    // Disks are looked at now and again: a low one is done without while nobody knows how the others stand.
    for (const nodeId of NODES) fabric.freeBytes.set(nodeId, FILLING_BYTES);
    await fabric.run(2000);
    expect(counts.refused).toBe(0);
    fabric.freeBytes.set('n2', LOW_BYTES);
    await fabric.run(2000);
    expect(fabric.inSync('g')).toEqual(NODES);
    const room = { isExhausted: true, isRunningOut: true, lowMembers: ['n2'] };
    expect(fabric.group('g').status().room).toEqual(room);
    expect(counts.refused).toBeGreaterThan(10);
    const { written } = counts;
    await fabric.run(1000);
    expect(counts.written).toBe(written);
    for (const nodeId of NODES) fabric.freeBytes.set(nodeId, DISK_BYTES);
    await fabric.run(2000);
    expect(fabric.inSync('g')).toEqual(NODES);
    expect(counts.written).toBeGreaterThan(written + 10);
  });
});
