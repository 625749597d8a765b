import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogCorruptionError } from '../../../../base/record-log.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../../../storage/log/spare-segments.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';

/**
 * Random damage in a log on a disk that forgets, and a loss of power somewhere within its mending. What is read is
 * right or refused at every moment; once all is mended, every record is as it was written, after restarts too.
 */

const COUNT = 40;
const DIRECTORY = '/log';

function recordOf(index: number): Uint8Array {
  return Buffer.alloc(20 + ((index * 37) % 400), index);
}

function open(disk: FaultyDisk, spares?: SpareSegments) {
  return openSegmentedLog({
    directory: DIRECTORY,
    fileSystem: disk.mount(),
    segmentSizeBytes: 2_000,
    verify: 'last-segment',
    spares,
    logger: silentLogger,
    counters: new CounterSet(),
  });
}

type Log = Awaited<ReturnType<typeof open>>['log'];

async function mend(log: Log): Promise<void> {
  for (let at = log.firstIndex; at < log.durableNextIndex; ) {
    const { damaged, nextIndex } = await log.verify(at, log.durableNextIndex, 700);
    for (const { firstIndex, count } of damaged) {
      await log.mend(
        firstIndex,
        Array.from({ length: count }, (_, i) => recordOf(firstIndex + i)),
      );
    }
    at = nextIndex;
  }
}

/** @returns records that cannot be read */
async function readThrough(log: Log): Promise<number[]> {
  const refused: number[] = [];
  for (let index = log.firstIndex; index < log.nextIndex; index++) {
    try {
      expect(Buffer.compare(await log.read(index), recordOf(index))).toBe(0);
    } catch (error) {
      if (!(error instanceof LogCorruptionError)) throw error;
      refused.push(index);
    }
  }
  return refused;
}

async function run(seed: number, flips: readonly number[], cutAfterTurns: number): Promise<void> {
  const disk = new FaultyDisk(new SeededRandom(seed));
  const areReused = seed % 2 === 0;
  const { log } = await open(disk, areReused ? new SpareSegments(new SeededRandom(seed)) : undefined);
  for (let life = areReused ? 1 : 2; life <= 2; life++) {
    // The files of the life before, where there was one, are written over.
    await log.resetTo(1);
    await new Promise((resolve) => setImmediate(resolve));
    for (let i = 1; i <= COUNT; i++) await log.append([recordOf(i)]);
  }
  await log.sync();
  // Headers are read at every opening, and the last segment tells a torn tail from damage: both are other tests'.
  const files = disk
    .list(DIRECTORY)
    .filter((name) => name.endsWith('.segment'))
    .sort()
    .slice(0, -1);
  for (const flip of flips) {
    const path = `${DIRECTORY}/${files[flip % files.length]}`;
    const size = disk.file(path).visible.length;
    disk.corrupt(path, 48 + (Math.floor(flip / files.length) % (size - 48)));
  }
  await readThrough(log);
  const mending = mend(log);
  mending.catch(() => {});
  for (let i = 0; i < cutAfterTurns; i++) await Promise.resolve();
  disk.crash();
  const again = await open(disk);
  await readThrough(again.log);
  await mend(again.log);
  expect(await readThrough(again.log)).toEqual([]);
  expect(again.log.nextIndex).toBe(COUNT + 1);
  disk.crash();
  expect(await readThrough((await open(disk)).log)).toEqual([]);
}

it('mends whatever is damaged, through losses of power, and never reads a wrong record', async () => {
  const flips = fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 6 });
  const cut = fc.nat(400);
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0 }), flips, cut, run), { numRuns: 60 });
}, 300_000);
