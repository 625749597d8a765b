import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { DiskSpace } from '../../../../storage/replication/disk-space.ts';
import { COMPACT_RATIO } from '../../../../storage/replication/limits.ts';
import type { PortalGroup } from '../../../../storage/replication/portal-group.ts';
import { realTime } from '../../../support/real-time.ts';
import { LoneGroup } from './lone-group.ts';

const KIB = 1024;
const BLOCK = 4 * KIB;
const SEGMENT_BYTES = 256 * KIB;
const SLACK_BYTES = 512 * KIB;
const TRIM = { checkMs: 20, growthBytes: 64 * KIB, slackBytes: SLACK_BYTES };
const LUN_BLOCKS = 512;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'compaction-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** A disk as its client knows it. */
class Checked {
  readonly content = Buffer.alloc(LUN_BLOCKS * BLOCK, 7);
  writtenBytes = 0;
  readonly #device: BlockDevice;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  async write(block: number, blockCount: number, value: number): Promise<void> {
    this.content.fill(value, block * BLOCK, (block + blockCount) * BLOCK);
    this.writtenBytes += blockCount * BLOCK;
    await this.#device.write(block * 8, [Buffer.alloc(blockCount * BLOCK, value)], {
      forceUnitAccess: false,
    });
  }

  async discard(block: number, blockCount: number): Promise<void> {
    this.content.fill(0, block * BLOCK, (block + blockCount) * BLOCK);
    await this.#device.discard(block * 8, blockCount * 8);
  }
}

async function contentOf(group: PortalGroup): Promise<Buffer> {
  return Buffer.concat(await (group.openDevice(1) as BlockDevice).read(0, LUN_BLOCKS * 8));
}

async function eventually(holds: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`it never came to be: ${what}`);
}

async function begin(lone: LoneGroup): Promise<{ group: PortalGroup; disk: Checked }> {
  const group = await lone.serving();
  await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: LUN_BLOCKS * 8 });
  return { group, disk: new Checked(group.openDevice(1) as BlockDevice) };
}

describe('compaction', () => {
  it('bounds the log and what is written again, and keeps every block', { timeout: 60_000 }, async () => {
    const lone = new LoneGroup({ directory, segmentSizeBytes: SEGMENT_BYTES, changes: { trim: TRIM } });
    const { group, disk } = await begin(lone);
    const random = new SeededRandom(3);
    // Cold blocks and discarded ones all over the log, among hot ones.
    for (let block = 0; block < LUN_BLOCKS; block += 4) await disk.write(block, 2, 1 + (block % 200));
    await disk.discard(100, 30);
    const hot = (): number => 200 + random.below(60);
    for (let i = 0; i < 150; i++) {
      await Promise.all(Array.from({ length: 8 }, (_, n) => disk.write(hot(), 2, (i * 8 + n) % 251)));
      if (i % 30 === 0) await disk.discard(random.below(400), 3);
    }
    const liveBytes = group.luns().reduce((sum, lun) => sum + lun.writtenBytes, 0);
    const longest = COMPACT_RATIO * liveBytes + SLACK_BYTES + 4 * SEGMENT_BYTES;
    await eventually(async () => (await lone.logBytes()) <= longest, 'a log within its bound');
    const carriedBytes = lone.counters.get('replication.carried-bytes');
    expect(carriedBytes).toBeGreaterThan(0);
    // What is counted as carried has headers and checksums with it.
    expect(carriedBytes).toBeLessThan((1.1 * disk.writtenBytes) / (COMPACT_RATIO - 1));
    expect((await contentOf(group)).equals(disk.content)).toBe(true);
    await lone.stop();
    const again = lone.next();
    expect((await contentOf(await again.serving())).equals(disk.content)).toBe(true);
    await again.stop();
  });

  it('gives a write cache back when it is dropped, among others that stay', { timeout: 30_000 }, async () => {
    const lone = new LoneGroup({ directory, segmentSizeBytes: SEGMENT_BYTES, changes: { trim: TRIM } });
    const { group, disk } = await begin(lone);
    await group.resetLun({ lunId: 2, base: { name: 'i', version: 1 }, lengthBlocks: 65_536 });
    const other = group.openDevice(2) as BlockDevice;
    for (let i = 0; i < 64; i++) {
      await disk.write(i * 8, 1, i + 1);
      await other.write(i * 1024, [Buffer.alloc(64 * KIB, i)], { forceUnitAccess: false });
    }
    expect(await lone.logBytes()).toBeGreaterThan(4 * KIB * KIB);
    await group.resetLun({ lunId: 2, base: { name: 'i', version: 1 }, lengthBlocks: 65_536 });
    const longest = COMPACT_RATIO * 64 * BLOCK + SLACK_BYTES + 4 * SEGMENT_BYTES;
    await eventually(async () => (await lone.logBytes()) <= longest, 'the space of the dropped blocks');
    expect((await contentOf(group)).equals(disk.content)).toBe(true);
    await lone.stop();
  });
});

describe('the reserve', () => {
  it('is refused to clients, and lets a full disk be cleaned up', { timeout: 30_000 }, async () => {
    const TOTAL_BYTES = 8 * KIB * KIB;
    const lone: LoneGroup = new LoneGroup({
      directory,
      segmentSizeBytes: SEGMENT_BYTES,
      changes: {
        trim: { ...TRIM, growthBytes: Number.MAX_SAFE_INTEGER, slackBytes: Number.MAX_SAFE_INTEGER },
        diskSpace: new DiskSpace({
          space: async () => ({
            freeBytes: TOTAL_BYTES - (await lone.logBytes()),
            totalBytes: TOTAL_BYTES,
          }),
          clock: realTime,
          logger: silentLogger,
          counters: new CounterSet(),
        }),
      },
    });
    const { group, disk } = await begin(lone);
    await disk.write(0, 100, 9);
    let isFull = false;
    for (let i = 0; i < 400 && !isFull; i++) {
      isFull = await disk.write(100 + (i % 4) * 16, 16, 1 + (i % 200)).then(
        () => false,
        (error: unknown) => (error as { kind?: string }).kind === 'no-space',
      );
    }
    expect(isFull).toBe(true);
    // Compaction alone makes room: nothing was given up.
    await eventually(async () => {
      const device = group.openDevice(1) as BlockDevice;
      return device.write(0, [Buffer.alloc(BLOCK, 5)], { forceUnitAccess: true }).then(
        () => true,
        () => false,
      );
    }, 'room for a write');
    const content = await contentOf(group);
    expect(content.subarray(0, BLOCK).equals(Buffer.alloc(BLOCK, 5))).toBe(true);
    expect(content.subarray(BLOCK, 100 * BLOCK).equals(Buffer.alloc(99 * BLOCK, 9))).toBe(true);
    await lone.stop();
  });

  it('counts as reached at once by what is appended, and as over only with room to spare', async () => {
    const clock = new ManualClock();
    let freeBytes = 5_000;
    const space = new DiskSpace({
      space: () => Promise.resolve({ freeBytes, totalBytes: 16_000 }),
      clock,
      logger: silentLogger,
      counters: new CounterSet(),
    });
    const look = async (): Promise<void> => {
      clock.advance(1_000);
      space.tick();
      await new Promise((resolve) => setImmediate(resolve));
    };
    await look();
    expect(space.isLow).toBe(false);
    space.took(4_000);
    expect(space.isLow).toBe(true);
    freeBytes = 1_400;
    await look();
    expect(space.isLow).toBe(true);
    freeBytes = 1_600;
    await look();
    expect(space.isLow).toBe(false);
  });
});
