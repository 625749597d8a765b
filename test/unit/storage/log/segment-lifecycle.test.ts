import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogFailure } from '../../../../base/record-log.ts';
import { openSegmentedLog, type SegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { FaultyDisk, systemError } from '../../../support/faulty-disk.ts';
import { DIRECTORY, segments, settled } from './log-files.ts';

const SEGMENT_BYTES = 256;
const RECORDS = 30;

async function open(disk: FaultyDisk): Promise<SegmentedLog> {
  const { log } = await openSegmentedLog({
    directory: DIRECTORY,
    fileSystem: disk.mount(),
    segmentSizeBytes: SEGMENT_BYTES,
    logger: silentLogger,
    counters: new CounterSet(),
  });
  return log;
}

async function filled(seed = 1): Promise<{ disk: FaultyDisk; log: SegmentedLog }> {
  const disk = new FaultyDisk(new SeededRandom(seed));
  const log = await open(disk);
  for (let i = 1; i <= RECORDS; i++) await log.append([textOf(i)]);
  await log.sync();
  return { disk, log };
}

const textOf = (i: number): Buffer => Buffer.from(`record ${i}`);

async function textAt(log: SegmentedLog, index: number): Promise<string> {
  return Buffer.from(await log.read(index)).toString();
}

describe('trimming', () => {
  it('lets go of all segments before any record, and never of that record', async () => {
    for (let index = 1; index <= RECORDS; index++) {
      const { disk, log } = await filled();
      const before = segments(disk).length;
      await log.trimBefore(index);
      await settled();
      expect(await textAt(log, index)).toBe(`record ${index}`);
      expect(index - log.firstIndex).toBeLessThan(SEGMENT_BYTES / 24);
      if (index > SEGMENT_BYTES / 24) expect(segments(disk).length).toBeLessThan(before);
      disk.kill();
      expect((await open(disk)).firstIndex).toBe(log.firstIndex);
    }
  });

  it('leaves no gap, whatever a loss of power brings back', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const { disk, log } = await filled(seed);
      await log.trimBefore(RECORDS);
      await settled();
      disk.crash();
      expect(await textAt(await open(disk), RECORDS)).toBe(`record ${RECORDS}`);
    }
  });

  it('leaves later segments too where one cannot be removed', async () => {
    const { disk, log } = await filled();
    const all = segments(disk);
    disk.fault = (operation, path) =>
      operation === 'remove' && path === all[1] ? systemError('EPERM') : undefined;
    await log.trimBefore(RECORDS);
    await settled();
    expect(segments(disk)).toEqual(all.slice(1));
    disk.kill();
    disk.fault = () => undefined;
    expect(await textAt(await open(disk), RECORDS)).toBe(`record ${RECORDS}`);
  });

  it('ends the log where a removal cannot be made durable', async () => {
    const { disk, log } = await filled();
    const failures: LogFailure[] = [];
    log.onFailure((failure) => failures.push(failure));
    disk.fault = (operation) => (operation === 'syncDirectory' ? systemError('EIO') : undefined);
    await log.trimBefore(RECORDS);
    await settled();
    expect(failures).toHaveLength(1);
    disk.fault = () => undefined;
    await expect(log.append([textOf(1)])).rejects.toBeInstanceOf(LogFailure);
  });
});

describe('truncation', () => {
  it('lets go of segments of which nothing is left', async () => {
    const { disk, log } = await filled();
    const [first] = segments(disk);
    await log.truncateFrom(1);
    await settled();
    expect(segments(disk)).not.toContain(first);
    expect(segments(disk)).toHaveLength(1);
    await log.append([textOf(100)]);
    expect(await textAt(log, 1)).toBe('record 100');
  });

  it('counts for a read that is asked for after it, though it is not done', async () => {
    const { log } = await filled();
    const cut = log.truncateFrom(5);
    const appended = log.append([Buffer.from('new')]);
    expect(await textAt(log, 5)).toBe('new');
    await Promise.all([cut, appended]);
  });

  it('counts nothing of what it took for durable, though a sync of it ends later', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    let letGo: (() => void) | undefined;
    let holds = false;
    const { log } = await openSegmentedLog({
      directory: DIRECTORY,
      fileSystem: disk.mount((operation) => {
        if (operation !== 'syncData' || !holds) return Promise.resolve();
        holds = false;
        return new Promise((resolve) => {
          letGo = resolve;
        });
      }),
      segmentSizeBytes: SEGMENT_BYTES,
      logger: silentLogger,
      counters: new CounterSet(),
    });
    await log.append([1, 2, 3].map(textOf));
    holds = true;
    const syncing = log.sync();
    await settled();
    const cut = log.truncateFrom(2);
    const appended = log.append([textOf(2)]);
    await settled();
    letGo?.();
    await Promise.all([syncing, cut, appended]);
    await settled();
    expect([log.nextIndex, log.durableNextIndex]).toEqual([3, 2]);
  });
});

describe('a segment', () => {
  it('grows no longer than it is to be, however many appends come in one turn', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await open(disk);
    await Promise.all(Array.from({ length: RECORDS }, (_, i) => log.append([textOf(i + 1)])));
    expect(segments(disk).length).toBeGreaterThan(2);
    for (const path of segments(disk)) expect(disk.contents(path).length).toBeLessThanOrEqual(SEGMENT_BYTES);
    for (let i = 1; i <= RECORDS; i++) expect(await textAt(log, i)).toBe(`record ${i}`);
  });
});
