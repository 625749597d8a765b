import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../../../storage/log/file-system.ts';
import { WRITE_OUT_BYTES } from '../../../../storage/log/limits.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';

interface Range {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** A file system whose files take note of what is to be written out, and take it on unless told not to. */
function watched(inner: FileSystem): { fileSystem: FileSystem; asked: Range[][]; takes: { on: boolean } } {
  const asked: Range[][] = [];
  const takes = { on: true };
  const watch = (file: OpenFile): OpenFile => {
    const ranges: Range[] = [];
    asked.push(ranges);
    return Object.assign(file, {
      writeOut: (offset: number, lengthBytes: number) => {
        if (takes.on) ranges.push({ offset, lengthBytes });
        return takes.on;
      },
    });
  };
  const create = inner.create.bind(inner);
  const open = inner.open.bind(inner);
  const fileSystem = Object.assign(inner, {
    create: async (path: string) => watch(await create(path)),
    open: async (path: string) => watch(await open(path)),
  });
  return { fileSystem, asked, takes };
}

const RECORD = new Uint8Array(WRITE_OUT_BYTES / 8);
/** Two pieces of it are full before the next segment is begun. */
const SEGMENT_BYTES = 2.5 * WRITE_OUT_BYTES;

async function logOver(fileSystem: FileSystem, segmentSizeBytes: number) {
  const options = { directory: '/log', fileSystem, segmentSizeBytes };
  return (await openSegmentedLog({ ...options, logger: silentLogger, counters: new CounterSet() })).log;
}

it('has each segment written to the disk piece by piece, in order, each piece once', async () => {
  const { fileSystem, asked } = watched(new FaultyDisk(new SeededRandom(1)).mount());
  const log = await logOver(fileSystem, SEGMENT_BYTES);
  for (let i = 0; i < 28; i++) await log.append([RECORD]);
  await log.close();
  const segments = asked.filter((ranges) => ranges.length > 0);
  expect(segments.length).toBe(2);
  for (const ranges of segments) {
    let end = 0;
    for (const { offset, lengthBytes } of ranges) {
      expect(offset).toBe(end);
      expect(lengthBytes % WRITE_OUT_BYTES).toBe(0);
      end += lengthBytes;
    }
    expect(end).toBeLessThanOrEqual(SEGMENT_BYTES);
  }
  // Of one that is full nothing but the last piece is left for its end.
  expect(segments[0]?.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)).toBe(2 * WRITE_OUT_BYTES);
});

it('asks for what was not taken on together with what comes next', async () => {
  const { fileSystem, asked, takes } = watched(new FaultyDisk(new SeededRandom(1)).mount());
  const log = await logOver(fileSystem, 16 * WRITE_OUT_BYTES);
  takes.on = false;
  for (let i = 0; i < 17; i++) await log.append([RECORD]);
  takes.on = true;
  await log.append([RECORD]);
  await log.close();
  expect(asked.flat()).toEqual([{ offset: 0, lengthBytes: 2 * WRITE_OUT_BYTES }]);
});

it('changes nothing of a real file, which may be closed at once', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'bootfabric-write-out-'));
  try {
    const path = join(directory, 'file');
    const content = new SeededRandom(2).bytes(1_000_000);
    const file = await nodeFileSystem.create(path);
    await file.write([content], 0);
    file.writeOut?.(0, content.length);
    await file.syncData();
    file.writeOut?.(0, content.length);
    await file.close();
    expect(Buffer.compare(await readFile(path), content)).toBe(0);
    // The last call is over: another file has its turn.
    const other = await nodeFileSystem.open(path);
    const isBegun = other.writeOut?.(0, 4096);
    await other.close();
    expect(isBegun).toBe(process.platform === 'linux');
  } finally {
    await rm(directory, { recursive: true });
  }
});
