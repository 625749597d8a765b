import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { type DamagedRecords, LogCorruptionError, LogFullError } from '../../../../base/record-log.ts';
import { openSegmentedLog, type SegmentedLog } from '../../../../storage/log/segmented-log.ts';
import {
  isDamagedInBlocksAlone,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { DIRECTORY, segments } from './log-files.ts';

const SEGMENT_BYTES = 20_000;
const SEGMENT_HEADER = 48;
const RECORD_HEADER = 16;

function open(disk: FaultyDisk) {
  return openSegmentedLog({
    directory: DIRECTORY,
    fileSystem: disk.mount(),
    segmentSizeBytes: SEGMENT_BYTES,
    salvage: isDamagedInBlocksAlone,
    logger: silentLogger,
    counters: new CounterSet(),
  });
}

/** A write of one or two blocks, or a small record of another kind, its content told by its number. */
function recordOf(i: number): Uint8Array {
  if (i % 5 === 0) return Buffer.alloc(40 + (i % 3), i);
  const blockCount = 1 + (i % 2);
  const payload = Buffer.alloc(writeRecordBytes(blockCount), i);
  sealWriteRecord(payload, { epoch: 1, lunId: 7, firstBlock: i, blockCount });
  return payload;
}

async function filled(disk: FaultyDisk, count: number): Promise<SegmentedLog> {
  const { log } = await open(disk);
  for (let i = 1; i <= count; i++) await log.append([recordOf(i)]);
  await log.sync();
  return log;
}

async function damageOf(log: SegmentedLog, maxBytes = 5_000): Promise<DamagedRecords[]> {
  const found: DamagedRecords[] = [];
  for (let at = log.firstIndex; at < log.durableNextIndex; ) {
    const part = await log.verify(at, log.durableNextIndex, maxBytes);
    expect(part.nextIndex).toBeGreaterThan(at);
    found.push(...part.damaged);
    at = part.nextIndex;
  }
  return found;
}

async function mendAll(log: SegmentedLog): Promise<boolean[]> {
  const done: boolean[] = [];
  for (const { firstIndex, count } of await damageOf(log)) {
    done.push(
      await log.mend(
        firstIndex,
        Array.from({ length: count }, (_, i) => recordOf(firstIndex + i)),
      ),
    );
  }
  return done;
}

async function isWhole(log: SegmentedLog, count: number): Promise<void> {
  let index = 1;
  for await (const { payload, position, isDamaged } of log.scan(1)) {
    expect(isDamaged).toBeUndefined();
    expect(Buffer.compare(payload, recordOf(index))).toBe(0);
    expect(Buffer.compare(await log.readAt(position, payload.length), payload)).toBe(0);
    expect(Buffer.compare(await log.read(index), payload)).toBe(0);
    index++;
  }
  expect(index).toBe(count + 1);
}

describe('looking after a log', () => {
  it('finds nothing in a sound one, in parts of any size', async () => {
    const log = await filled(new FaultyDisk(new SeededRandom(1)), 30);
    for (const maxBytes of [1, 4_000, 1_000_000]) expect(await damageOf(log, maxBytes)).toEqual([]);
  });

  it('finds a damaged record and puts it right where it was, at once and after a restart', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await filled(disk, 30);
    const file = segments(disk)[1] as string;
    const positions: number[] = [];
    for await (const { position } of log.scan(1)) positions.push(position);
    disk.corrupt(file, SEGMENT_HEADER + RECORD_HEADER + 1_000);
    const [found, ...others] = await damageOf(log);
    expect(others).toEqual([]);
    expect(found).toMatchObject({ count: 1 });
    const { firstIndex } = found as DamagedRecords;
    await expect(log.read(firstIndex)).rejects.toThrow(LogCorruptionError);
    expect(await log.mend(firstIndex, [recordOf(firstIndex)])).toBe(true);
    await isWhole(log, 30);
    const after: number[] = [];
    for await (const { position } of log.scan(1)) after.push(position);
    expect(after).toEqual(positions);
    disk.crash();
    const again = await open(disk);
    expect(again.report.damagedRecords).toBeUndefined();
    await isWhole(again.log, 30);
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('puts right what lies in the segment being appended to, while it is appended to', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await filled(disk, 13);
    const file = segments(disk).at(-1) as string;
    disk.corrupt(file, SEGMENT_HEADER + RECORD_HEADER + 500);
    const [found] = await damageOf(log);
    const { firstIndex } = found as DamagedRecords;
    const appended = [14, 15, 16].map((i) => log.append([recordOf(i)]));
    expect(await log.mend(firstIndex, [recordOf(firstIndex)])).toBe(true);
    await Promise.all(appended);
    await log.append([recordOf(17)]);
    await log.sync();
    await isWhole(log, 17);
    disk.crash();
    await isWhole((await open(disk)).log, 17);
  });

  it.each([
    ['its length', 0],
    ['its checksum', 4],
    ['its place', 12],
  ])('puts right a record whose header is damaged in %s', async (_, at) => {
    const disk = new FaultyDisk(new SeededRandom(1));
    await (await filled(disk, 30)).close();
    const { log } = await open(disk);
    disk.corrupt(segments(disk)[1] as string, SEGMENT_HEADER + at);
    expect(await mendAll(log)).toEqual([true]);
    expect(await damageOf(log)).toEqual([]);
    await isWhole(log, 30);
  });

  it('puts right several records whose places the damage has hidden', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    await (await filled(disk, 40)).close();
    const { log } = await open(disk);
    const file = segments(disk)[1] as string;
    const bytes = disk.file(file);
    for (const content of [bytes.visible, bytes.durable])
      content.fill(0, SEGMENT_HEADER, SEGMENT_HEADER + 9_000);
    const found = await damageOf(log);
    expect(found).toHaveLength(1);
    const [{ firstIndex, count }] = found as [DamagedRecords];
    expect(count).toBeGreaterThan(1);
    const position = Number(file.replace(/\D/g, '')) + SEGMENT_HEADER + 5_000;
    expect(await log.locate(position)).toMatchObject({ firstIndex, count });
    expect(await mendAll(log)).toEqual([true]);
    await isWhole(log, 40);
  });

  it('writes a damaged header of a segment anew from memory', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await filled(disk, 30);
    disk.corrupt(segments(disk)[1] as string, 20);
    expect(await damageOf(log)).toMatchObject([{ count: 0 }]);
    expect(await mendAll(log)).toEqual([true]);
    disk.crash();
    await isWhole((await open(disk)).log, 30);
  });

  it('takes no records of another size, and changes nothing', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await filled(disk, 30);
    disk.corrupt(segments(disk)[1] as string, SEGMENT_HEADER + RECORD_HEADER + 100);
    const [found] = await damageOf(log);
    const { firstIndex } = found as DamagedRecords;
    expect(await log.mend(firstIndex, [Buffer.alloc(10)])).toBe(false);
    expect(await damageOf(log)).toEqual([found]);
  });

  it('changes nothing where there is no room, and does it later', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await filled(disk, 30);
    disk.corrupt(segments(disk)[1] as string, SEGMENT_HEADER + RECORD_HEADER + 100);
    disk.capacityBytes = disk.usedBytes + 1_000;
    const [found] = await damageOf(log);
    const { firstIndex } = found as DamagedRecords;
    await expect(log.mend(firstIndex, [recordOf(firstIndex)])).rejects.toThrow(LogFullError);
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    expect(await mendAll(log)).toEqual([true]);
    await isWhole(log, 30);
  });

  it('mends nothing that has been let go of meanwhile', async () => {
    const disk = new FaultyDisk(new SeededRandom(1));
    const log = await filled(disk, 30);
    disk.corrupt(segments(disk)[0] as string, SEGMENT_HEADER + RECORD_HEADER + 100);
    const mending = log.mend(1, [recordOf(1)]);
    const trimming = log.trimBefore(20);
    await Promise.all([mending, trimming]);
    expect(await log.mend(1, [recordOf(1)])).toBe(false);
    await log.close();
    const again = await open(disk);
    expect(again.log.firstIndex).toBeGreaterThan(1);
    expect(await damageOf(again.log)).toEqual([]);
  });
});

describe('opening with damage', () => {
  it('goes on where only data is damaged that has checksums of its own', async () => {
    for (const segment of [0, -1]) {
      const disk = new FaultyDisk(new SeededRandom(1));
      await (await filled(disk, 33)).close();
      disk.corrupt(segments(disk).at(segment) as string, SEGMENT_HEADER + RECORD_HEADER + 2_000);
      const { log, report } = await open(disk);
      expect(report).toMatchObject({ records: 33, damagedRecords: 1 });
      const damaged: number[] = [];
      for await (const { index, isDamaged } of log.scan(1)) if (isDamaged === true) damaged.push(index);
      expect(damaged).toEqual((await damageOf(log)).map((found) => found.firstIndex));
      await log.append([recordOf(34)]);
      await log.sync();
      expect(await mendAll(log)).toEqual([true]);
      await isWhole(log, 34);
    }
  });

  it('refuses where anything else is', async () => {
    // In the header of a record and in the list of checksums.
    for (const at of [4, RECORD_HEADER + 8, RECORD_HEADER + 17]) {
      const disk = new FaultyDisk(new SeededRandom(1));
      await (await filled(disk, 30)).close();
      disk.corrupt(segments(disk)[0] as string, SEGMENT_HEADER + at);
      await expect(open(disk)).rejects.toThrow(LogCorruptionError);
    }
  });
});
