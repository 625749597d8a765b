import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../storage/block-device.ts';
import { FULL_RETRY_MS, PIPELINE_BYTES, SLOW_MS, WINDOW_BYTES } from '../../../storage/replication/limits.ts';
import { QuietFabric } from './quiet-fabric.ts';

/** A disk of 32 MB/s: few writes fill it, so that few have to be simulated. */
const MS_PER_MIB = 32;
const TIMEOUT_MS = 120_000;
const DEPTH = 128;
const BIG = Buffer.alloc(64 * 1024, 1);
const LARGE = Buffer.alloc(1024 * 1024, 3);
const SMALL = Buffer.alloc(4096, 2);
/** Of each disk of a QuietFabric. */
const DISK_BLOCKS = 65_536;
/** What fills the pipeline takes so long on each of primary and backup. */
const PIPELINE_MS = (PIPELINE_BYTES / 1024 / 1024) * MS_PER_MIB;

const worst = (tookMs: readonly number[]): number => Math.max(...tookMs);

/** As deep as iSCSI lets one session be. */
function writeGreedily(fabric: QuietFabric, device: BlockDevice, data = BIG): { bytes: () => number } {
  const writers = Array.from({ length: DEPTH }, (_, i) =>
    fabric.repeat(() =>
      device.write((i * (data.length / 512)) % DISK_BLOCKS, [data], { forceUnitAccess: false }),
    ),
  );
  return { bytes: () => writers.reduce((sum, { tookMs }) => sum + tookMs.length * data.length, 0) };
}

const writeSmall = (fabric: QuietFabric, device: BlockDevice) =>
  fabric.repeat(() => device.write(0, [SMALL], { forceUnitAccess: false }), 5);

const readSmall = (fabric: QuietFabric, device: BlockDevice) =>
  fabric.repeat(async () => {
    await device.read(8, 8);
  }, 5);

describe('one machine that writes as much as it can', { timeout: TIMEOUT_MS }, () => {
  it.each([1, 8])(
    'delays another that writes a little by what fills the pipeline, be there %i of it',
    async (greedy) => {
      const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB });
      const luns = Array.from({ length: greedy + 1 }, (_, i) => ({ group: 'g', lunId: i + 1 }));
      await fabric.serve(luns);
      const [modest, ...others] = luns.map(({ lunId }) => fabric.group('g').openDevice(lunId) as BlockDevice);
      const alone = writeSmall(fabric, modest as BlockDevice);
      await fabric.run(1000);
      alone.stop();
      const loads = others.map((device) => writeGreedily(fabric, device));
      await fabric.run(1000);
      const before = loads.map((load) => load.bytes());
      const writes = writeSmall(fabric, modest as BlockDevice);
      const reads = readSmall(fabric, modest as BlockDevice);
      await fabric.run(3000);
      expect(writes.tookMs.length).toBeGreaterThan(5);
      // It lies behind what is in the log already, here and then on the backups.
      expect(worst(writes.tookMs)).toBeLessThan(worst(alone.tookMs) + 3 * PIPELINE_MS);
      // Reads wait for no write at all.
      expect(worst(reads.tookMs)).toBeLessThan(10);
      const moved = loads.map((load, i) => load.bytes() - (before[i] as number));
      // The disks are kept busy all the same, and shared alike.
      const possible = (3000 / MS_PER_MIB) * 1024 * 1024;
      expect(moved.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(0.6 * possible);
      expect(Math.max(...moved)).toBeLessThan(1.5 * Math.min(...moved));
    },
  );
});

describe('one machine with many writes of 1 MiB under way', { timeout: TIMEOUT_MS }, () => {
  /** What waits in front of a small write: the pipeline, and one more large write that was let in with the last room there was. */
  const aheadMs = PIPELINE_MS + (LARGE.length / 1024 / 1024) * MS_PER_MIB;

  it('delays small writes of another one in its group by what fills the pipeline', async () => {
    const fabric = new QuietFabric(['g'], { msPerMib: MS_PER_MIB });
    await fabric.serve([
      { group: 'g', lunId: 1 },
      { group: 'g', lunId: 2 },
    ]);
    const [modest, greedy] = [1, 2].map((lunId) => fabric.group('g').openDevice(lunId) as BlockDevice);
    const alone = writeSmall(fabric, modest as BlockDevice);
    await fabric.run(1000);
    alone.stop();
    const load = writeGreedily(fabric, greedy as BlockDevice, LARGE);
    await fabric.run(1000);
    const before = load.bytes();
    const writes = writeSmall(fabric, modest as BlockDevice);
    await fabric.run(3000);
    expect(writes.tookMs.length).toBeGreaterThan(5);
    expect(worst(writes.tookMs)).toBeLessThan(worst(alone.tookMs) + 3 * aheadMs);
    const possible = (3000 / MS_PER_MIB) * 1024 * 1024;
    expect(load.bytes() - before).toBeGreaterThan(0.6 * possible);
  });

  it('delays small writes of another group by what its links carry of one pipeline, and not at all by its disks', async () => {
    for (const isLinkSlow of [false, true]) {
      const fabric = new QuietFabric(['g', 'h'], { msPerMib: MS_PER_MIB });
      await fabric.serve([
        { group: 'g', lunId: 1 },
        { group: 'h', lunId: 2 },
      ]);
      const [greedy, modest] = [fabric.group('g').openDevice(1), fabric.group('h').openDevice(2)];
      if (isLinkSlow) {
        // The links of both groups are what is short: they carry 32 MB/s each, and disks take far more.
        for (const nodeId of ['n1', 'n2', 'n3']) fabric.disk(nodeId, 'g').msPerMib = 0;
        for (const nodeId of ['n2', 'n3']) fabric.network.throttle('n1', nodeId, (1024 * 1024) / MS_PER_MIB);
      }
      const alone = writeSmall(fabric, modest as BlockDevice);
      await fabric.run(1000);
      alone.stop();
      const load = writeGreedily(fabric, greedy as BlockDevice, LARGE);
      await fabric.run(1000);
      const before = load.bytes();
      const writes = writeSmall(fabric, modest as BlockDevice);
      await fabric.run(2000);
      expect(load.bytes() - before).toBeGreaterThan(0.6 * (2000 / MS_PER_MIB) * 1024 * 1024);
      expect(writes.tookMs.length).toBeGreaterThan(5);
      const bound = worst(alone.tookMs) + (isLinkSlow ? aheadMs + MS_PER_MIB : 2);
      expect(worst(writes.tookMs), isLinkSlow ? 'links' : 'disks').toBeLessThanOrEqual(bound);
      expect(fabric.inSync('h')).toEqual(['n1', 'n2', 'n3']);
    }
  });
});

describe('a backup whose disk hangs', { timeout: TIMEOUT_MS }, () => {
  it('delays nobody in another group, and no read of its own', async () => {
    const fabric = new QuietFabric(['g', 'h'], { msPerMib: MS_PER_MIB });
    await fabric.serve([
      { group: 'g', lunId: 1 },
      { group: 'h', lunId: 2 },
    ]);
    const stuck = fabric.group('g').openDevice(1) as BlockDevice;
    const other = fabric.group('h').openDevice(2) as BlockDevice;
    const quiet = writeSmall(fabric, other);
    await fabric.run(1000);
    quiet.stop();
    const stuckWrites = writeSmall(fabric, stuck);
    await fabric.run(100);
    fabric.disk('n2', 'g').slowMs = 60_000;
    const reads = readSmall(fabric, stuck);
    const writes = writeSmall(fabric, other);
    await fabric.run(3000);
    expect(worst(writes.tookMs)).toBeLessThanOrEqual(worst(quiet.tookMs) + 2);
    expect(worst(reads.tookMs)).toBeLessThan(10);
    // Its own writes wait for it until it is put out of the set, and then no more.
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    expect(fabric.inSync('h')).toEqual(['n1', 'n2', 'n3']);
    expect(worst(stuckWrites.tookMs)).toBeGreaterThan(SLOW_MS / 2);
    expect(worst(stuckWrites.tookMs)).toBeLessThan(3 * SLOW_MS);
    expect(stuckWrites.tookMs.length).toBeGreaterThan(50);
  });
});

describe('a backup whose disk is full', { timeout: TIMEOUT_MS }, () => {
  it('is put out of the set at once, and takes nothing of the links from the others', async () => {
    const fabric = new QuietFabric(['g', 'h'], { msPerMib: MS_PER_MIB });
    await fabric.serve([
      { group: 'g', lunId: 1 },
      { group: 'h', lunId: 2 },
    ]);
    const other = writeSmall(fabric, fabric.group('h').openDevice(2) as BlockDevice);
    const load = writeGreedily(fabric, fabric.group('g').openDevice(1) as BlockDevice);
    await fabric.run(1000);
    fabric.disk('n2', 'g').isFull = true;
    await fabric.run(1000);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    const writtenBytes = load.bytes();
    const [fullBytes, soundBytes] = [fabric.sentBytesTo('n2'), fabric.sentBytesTo('n3')];
    await fabric.run(3000);
    expect(fabric.inSync('g')).toEqual(['n1', 'n3']);
    expect(fabric.inSync('h')).toEqual(['n1', 'n2', 'n3']);
    // It is asked now and then whether there is room again, and then sent no more than a window.
    expect(fabric.sentBytesTo('n2') - fullBytes).toBeLessThan((3000 / FULL_RETRY_MS + 1) * WINDOW_BYTES);
    expect(fabric.sentBytesTo('n3') - soundBytes).toBeGreaterThan(load.bytes() - writtenBytes);
    const possible = (3000 / MS_PER_MIB) * 1024 * 1024;
    expect(load.bytes() - writtenBytes).toBeGreaterThan(0.6 * possible);
    expect(worst(other.tookMs)).toBeLessThan(SLOW_MS);
  });
});
