import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { type DamagedRecords, LogCorruptionError } from '../../../../base/record-log.ts';
import type { FileSystem, OpenFile } from '../../../../storage/log/file-system.ts';
import { MAX_OPEN_SEGMENTS } from '../../../../storage/log/limits.ts';
import { encodeSegmentHeader } from '../../../../storage/log/segment-codec.ts';
import { readAround } from '../../../../storage/log/segment-walk.ts';
import { openSegmentedLog, type SegmentedLog } from '../../../../storage/log/segmented-log.ts';
import {
  isDamagedInBlocksAlone,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { FaultyDisk, systemError } from '../../../support/faulty-disk.ts';
import { DIRECTORY, segments, settled } from './log-files.ts';

const SEGMENT_BYTES = 20_000;
const SEGMENT_HEADER = 48;
const RECORD_HEADER = 16;

function newDisk(seed = 1): FaultyDisk {
  return new FaultyDisk(new SeededRandom(seed));
}

async function open(
  disk: FaultyDisk,
  segmentSizeBytes = SEGMENT_BYTES,
  fileSystem: FileSystem = disk.mount(),
): Promise<SegmentedLog> {
  const { log } = await openSegmentedLog({
    directory: DIRECTORY,
    fileSystem,
    segmentSizeBytes,
    salvage: isDamagedInBlocksAlone,
    logger: silentLogger,
    counters: new CounterSet(),
  });
  return log;
}

/** A write of one block, its content told by its number: four to a segment. */
function recordOf(i: number): Uint8Array {
  const payload = Buffer.alloc(writeRecordBytes(1), i);
  sealWriteRecord(payload, { epoch: 1, lunId: 7, firstBlock: i, blockCount: 1 });
  return payload;
}

const SIZE = RECORD_HEADER + Math.ceil(writeRecordBytes(1) / 8) * 8;

async function fill(log: SegmentedLog, count: number): Promise<SegmentedLog> {
  for (let i = 1; i <= count; i++) await log.append([recordOf(i)]);
  await log.sync();
  return log;
}

async function damageOf(log: SegmentedLog): Promise<DamagedRecords[]> {
  const found: DamagedRecords[] = [];
  for (let at = log.firstIndex; at < log.durableNextIndex; ) {
    const part = await log.verify(at, log.durableNextIndex, 5_000);
    found.push(...part.damaged);
    at = part.nextIndex;
  }
  return found;
}

/** Whose files are of no more use once they have been closed. */
function closing(fileSystem: FileSystem, open = { count: 0, most: 0 }): FileSystem {
  const guarded = (file: OpenFile): OpenFile => {
    let isClosed = false;
    open.count++;
    open.most = Math.max(open.most, open.count);
    const checked = <T>(operate: () => Promise<T>): Promise<T> =>
      isClosed ? Promise.reject(systemError('EBADF')) : operate();
    return {
      sizeBytes: () => checked(() => file.sizeBytes()),
      read: (into, offsetBytes) => checked(() => file.read(into, offsetBytes)),
      write: (parts, offsetBytes) => checked(() => file.write(parts, offsetBytes)),
      truncate: (sizeBytes) => checked(() => file.truncate(sizeBytes)),
      syncData: () => checked(() => file.syncData()),
      close: () =>
        checked(() => {
          isClosed = true;
          open.count--;
          return file.close();
        }),
    };
  };
  const bound = (name: keyof FileSystem) => (fileSystem[name] as () => unknown).bind(fileSystem);
  return {
    makeDirectory: bound('makeDirectory') as FileSystem['makeDirectory'],
    list: bound('list') as FileSystem['list'],
    create: async (path) => guarded(await fileSystem.create(path)),
    open: async (path) => guarded(await fileSystem.open(path)),
    rename: bound('rename') as FileSystem['rename'],
    remove: bound('remove') as FileSystem['remove'],
    removeTree: bound('removeTree') as FileSystem['removeTree'],
    syncDirectory: bound('syncDirectory') as FileSystem['syncDirectory'],
    space: bound('space') as FileSystem['space'],
  };
}

describe('a file that is being read', () => {
  it('is not closed to make room for others', async () => {
    const disk = newDisk();
    const log = await open(disk, 64, closing(disk.mount()));
    // Longer than what is read at a time.
    await log.append([1, 2, 3].map((i) => Buffer.alloc(700_000, i)));
    const reader = log.scan(1);
    await reader.next();
    const count = MAX_OPEN_SEGMENTS + 20;
    for (let i = 0; i < count; i++) await log.append([Buffer.from(`${i}`), Buffer.from('second')]);
    expect(segments(disk)).toHaveLength(1 + count);
    for (let i = 0; i < count; i++) await log.read(4 + 2 * i);
    let last = 0;
    for await (const { index } of reader) last = index;
    expect(last).toBe(3);
  });

  it('is one of so many at most, though none was opened to be read', async () => {
    const disk = newDisk();
    const files = { count: 0, most: 0 };
    const log = await open(disk, 64, closing(disk.mount(), files));
    for (let i = 1; i <= 2 * MAX_OPEN_SEGMENTS; i++)
      await log.append([Buffer.from(`${i}`), Buffer.from('second')]);
    // Beside them: the marker, and the segment that is made.
    expect(files.most).toBeLessThanOrEqual(MAX_OPEN_SEGMENTS + 2);
    for (let i = 1; i <= 2 * MAX_OPEN_SEGMENTS; i++) {
      expect(Buffer.from(await log.read(2 * i - 1)).toString()).toBe(`${i}`);
    }
    expect(files.most).toBeLessThanOrEqual(MAX_OPEN_SEGMENTS + 2);
  });

  it('is not closed when another is put in its place', async () => {
    const disk = newDisk();
    const log = await fill(await open(disk, 4 << 20, closing(disk.mount())), 600);
    await log.truncateFrom(600);
    const reader = log.scan(1);
    await reader.next();
    disk.corrupt(segments(disk)[0] as string, SEGMENT_HEADER + 590 * SIZE + RECORD_HEADER + 500);
    expect(await log.mend(591, [recordOf(591)])).toBe(true);
    let last = 0;
    for await (const { index } of reader) last = index;
    expect(last).toBe(599);
    expect(await damageOf(log)).toEqual([]);
  });
});

describe('mending', () => {
  it('lasts, whatever a loss of power takes', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const disk = newDisk(seed);
      const log = await fill(await open(disk), 12);
      disk.corrupt(segments(disk)[1] as string, SEGMENT_HEADER + RECORD_HEADER + 1_000);
      const [found] = await damageOf(log);
      const { firstIndex } = found as DamagedRecords;
      expect(await log.mend(firstIndex, [recordOf(firstIndex)])).toBe(true);
      disk.crash();
      expect(await damageOf(await open(disk))).toEqual([]);
    }
  });

  it('of what is trimmed meanwhile has not been done', async () => {
    const disk = newDisk();
    let letGo: (() => void) | undefined;
    let holds = false;
    const fileSystem = disk.mount((operation) => {
      if (!holds || operation !== 'syncData') return Promise.resolve();
      holds = false;
      return new Promise((resolve) => {
        letGo = resolve;
      });
    });
    const log = await fill(await open(disk, SEGMENT_BYTES, fileSystem), 12);
    disk.corrupt(segments(disk)[0] as string, SEGMENT_HEADER + RECORD_HEADER + 1_000);
    holds = true;
    const mending = log.mend(1, [recordOf(1)]);
    await settled();
    await log.trimBefore(9);
    letGo?.();
    expect(await mending).toBe(false);
    await settled();
    expect(segments(disk)).toHaveLength(1);
  });

  it('leaves a record that is found by itself where those before it are damaged', async () => {
    const disk = newDisk();
    const log = await fill(await open(disk), 12);
    const path = segments(disk)[1] as string;
    disk.corrupt(path, SEGMENT_HEADER + SIZE + RECORD_HEADER + 1_000);
    const [{ firstIndex }] = (await damageOf(log)) as [DamagedRecords];
    expect(await log.mend(firstIndex, [recordOf(firstIndex)])).toBe(true);
    await log.close();
    disk.kill();
    const again = await open(disk);
    // Its length: nothing tells where the next one begins, but for that one.
    disk.corrupt(path, SEGMENT_HEADER);
    expect(await damageOf(again)).toMatchObject([{ firstIndex: firstIndex - 1, count: 1 }]);
  });
});

describe('looking for damage', () => {
  it('finds the header of another segment', async () => {
    const disk = newDisk();
    const log = await fill(await open(disk), 12);
    const path = segments(disk)[1] as string;
    const basePosition = Number(path.replace(/\D/g, ''));
    const other = { firstIndex: 3, basePosition, startsOver: false };
    disk.replace(
      path,
      Buffer.concat([encodeSegmentHeader(other), disk.contents(path).subarray(SEGMENT_HEADER)]),
    );
    expect(await damageOf(log)).toMatchObject([{ count: 0 }]);
  });

  it('takes no record that stands in the place of another for a damaged one of that place', async () => {
    const disk = newDisk();
    const log = await fill(await open(disk), 12);
    const path = segments(disk)[1] as string;
    const bytes = disk.contents(path);
    bytes.copyWithin(SEGMENT_HEADER, SEGMENT_HEADER + SIZE, SEGMENT_HEADER + 2 * SIZE);
    const at = SEGMENT_HEADER + RECORD_HEADER + 1_000;
    bytes[at] = (bytes[at] as number) ^ 1;
    disk.replace(path, bytes);
    const readAll = async (): Promise<void> => {
      for await (const { isDamaged } of log.scan(1)) expect(isDamaged).toBeUndefined();
    };
    await expect(readAll()).rejects.toBeInstanceOf(LogCorruptionError);
  });

  it('counts no record that was truncated, though it is there', async () => {
    const disk = newDisk();
    const log = await fill(await open(disk, 1 << 20), 8);
    await log.truncateFrom(5);
    await log.close();
    disk.kill();
    const again = await open(disk, 1 << 20);
    const path = segments(disk)[0] as string;
    // What hides where the fourth and the fifth are; the sixth, which counts no more, is the next to be found.
    const bytes = disk.contents(path);
    bytes.fill(0, SEGMENT_HEADER + 3 * SIZE, SEGMENT_HEADER + 5 * SIZE);
    disk.replace(path, bytes);
    const part = await again.verify(1, 5, 1 << 20);
    expect(part).toMatchObject({ nextIndex: 5, damaged: [{ firstIndex: 4, count: 1 }] });
  });

  it('has zeros for what the device cannot read, and not what was in memory before', async () => {
    const content = Buffer.alloc(16_384, 1);
    const broken: Pick<OpenFile, 'sizeBytes' | 'read'> = {
      sizeBytes: () => Promise.resolve(content.length),
      read: (into, offsetBytes) => {
        const end = offsetBytes + into.length;
        if (offsetBytes < 8192 && end > 4096) return Promise.reject(systemError('EIO'));
        into.set(content.subarray(offsetBytes, end));
        return Promise.resolve(into.length);
      },
    };
    const into = Buffer.alloc(16_384, 0xff);
    expect(await readAround(broken as OpenFile).read(into, 0)).toBe(16_384);
    const expected = Buffer.from(content).fill(0, 4096, 8192);
    expect(into.equals(expected)).toBe(true);
  });
});
