import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { LoneGroup } from './lone-group.ts';

const BLOCKS = 64;
const TRIM = { checkMs: 20, growthBytes: 1, slackBytes: 1 << 30 };

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-power-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe('a group that nobody flushes', () => {
  it.each([1, 2, 3])(
    'is there after a loss of power, though all it held had been given up (%i)',
    async (seed) => {
      const disk = new FaultyDisk(new SeededRandom(seed));
      const lone = new LoneGroup({
        directory,
        segmentSizeBytes: 64 * 1024,
        fileSystem: disk.mount(),
        changes: { trim: TRIM },
      });
      const group = await lone.serving();
      await group.resetLun({ lunId: 1, base: { name: 'seven', version: 1 }, lengthBlocks: BLOCKS });
      const device = group.openDevice(1);
      for (let i = 0; i < 40; i++)
        await device?.write(0, [Buffer.alloc(16 * 512, i + 1)], { forceUnitAccess: false });
      await group.resetLun({ lunId: 1, base: { name: 'seven', version: 1 }, lengthBlocks: BLOCKS });
      // Long enough for many a look at what could be trimmed.
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(lone.counters.get('replication.trimmed')).toBeGreaterThan(0);
      disk.crash();
      const next = new LoneGroup(
        { directory, segmentSizeBytes: 64 * 1024, fileSystem: disk.mount(), changes: { trim: TRIM } },
        2,
      );
      const again = await next.serving();
      expect(again.isServing()).toBe(true);
      await next.stop();
    },
  );

  it.each([1, 2, 3, 4, 5])('loses nothing that is written after a loss of power (%i)', async (seed) => {
    const disk = new FaultyDisk(new SeededRandom(seed));
    const options = () => ({
      ...{ directory, segmentSizeBytes: 64 * 1024, fileSystem: disk.mount(), changes: { trim: TRIM } },
    });
    const lone = new LoneGroup(options());
    const group = await lone.serving();
    const lun = { base: { name: 'seven', version: 1 }, lengthBlocks: BLOCKS };
    for (let i = 0; i < 12; i++) {
      // What is trimmed may go so far, while the disks are of what comes after.
      if (i > 0) await group.openDevice(1)?.flush();
      for (const lunId of [1, 2]) {
        await group.resetLun({ lunId, ...lun });
        await group.openDevice(lunId)?.write(0, [Buffer.alloc(4096, i + 1)], { forceUnitAccess: false });
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(lone.counters.get('replication.trimmed')).toBeGreaterThan(0);
    disk.crash();
    const next = new LoneGroup(options(), 2);
    const again = await next.serving();
    for (const lunId of [1, 2]) {
      if (again.openDevice(lunId) === undefined) await again.resetLun({ lunId, ...lun });
      const device = again.openDevice(lunId);
      const content = Buffer.alloc(8192, 0xa0 + lunId);
      await device?.write(8, [content], { forceUnitAccess: false });
      expect(Buffer.concat((await device?.read(8, 16)) ?? []).equals(content)).toBe(true);
    }
    await next.stop();
  });
});
