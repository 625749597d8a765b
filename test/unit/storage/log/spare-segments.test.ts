import { expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogFullError } from '../../../../base/record-log.ts';
import { frameRecords, segmentKey } from '../../../../storage/log/segment-codec.ts';
import { openSegmentedLog, type SegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../../../storage/log/spare-segments.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';

const SEGMENT_BYTES = 64 * 1024;
const RECORD_BYTES = 8 * 1024 - 16;

async function open(
  disk: FaultyDisk,
  spares: SpareSegments,
  directory = '/log',
): Promise<{ log: SegmentedLog; counters: CounterSet }> {
  const counters = new CounterSet();
  const { log } = await openSegmentedLog({
    directory,
    fileSystem: disk.mount(),
    segmentSizeBytes: SEGMENT_BYTES,
    spares,
    logger: silentLogger,
    counters,
  });
  return { log, counters };
}

function newSpares(limitBytes = 4 * SEGMENT_BYTES): SpareSegments {
  return new SpareSegments(new SeededRandom(7), limitBytes);
}

/** Appends so many segments of records, seven to a segment. */
async function fill(log: SegmentedLog, segments: number): Promise<void> {
  for (let i = 0; i < segments * 7; i++) await log.append([new Uint8Array(RECORD_BYTES).fill(i)]);
}

async function trimAll(log: SegmentedLog): Promise<void> {
  await log.trimBefore(log.nextIndex);
  await settled();
}

/** Removal goes on behind the calls. */
async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

it('writes over what was let go of: no more room is taken however much is written', async () => {
  const disk = new FaultyDisk(new SeededRandom(1));
  const { log, counters } = await open(disk, newSpares());
  await fill(log, 3);
  await trimAll(log);
  const usedBytes = disk.usedBytes;
  for (let i = 0; i < 10; i++) {
    await fill(log, 1);
    await trimAll(log);
  }
  expect(counters.get('log.segments.reused')).toBeGreaterThanOrEqual(9);
  expect(disk.usedBytes).toBeLessThanOrEqual(usedBytes);
});

it('keeps no more than its bound, of all logs together, and of a closed one nothing', async () => {
  const disk = new FaultyDisk(new SeededRandom(1));
  const spares = newSpares(3 * SEGMENT_BYTES);
  const one = await open(disk, spares, '/one');
  const other = await open(disk, spares, '/other');
  for (const { log } of [one, other]) {
    await fill(log, 6);
    await trimAll(log);
    expect(spares.keptBytes).toBeGreaterThan(2 * RECORD_BYTES * 7);
    expect(spares.keptBytes).toBeLessThanOrEqual(3 * SEGMENT_BYTES);
  }
  // Those kept for longest have made room.
  expect(disk.list('/one').filter((name) => name.endsWith('.tmp'))).toHaveLength(0);
  await other.log.close();
  expect(spares.keptBytes).toBe(0);
  expect(disk.list('/other').filter((name) => name.endsWith('.tmp'))).toHaveLength(0);
});

it('gives up what it keeps, of whichever log, before it says that there is no space', async () => {
  const disk = new FaultyDisk(new SeededRandom(1));
  const spares = newSpares();
  const one = await open(disk, spares, '/one');
  const other = await open(disk, spares, '/other');
  await fill(other.log, 4);
  await trimAll(other.log);
  expect(spares.keptBytes).toBeGreaterThan(2 * SEGMENT_BYTES);
  disk.capacityBytes = disk.usedBytes;
  await fill(one.log, 2);
  expect(spares.keptBytes).toBe(0);
  await expect(fill(one.log, 9)).rejects.toThrow(LogFullError);
});

it('keeps nothing while it may not', async () => {
  const disk = new FaultyDisk(new SeededRandom(1));
  const spares = newSpares();
  const { log, counters } = await open(disk, spares);
  await fill(log, 3);
  await trimAll(log);
  expect(spares.keptBytes).toBeGreaterThan(0);
  await spares.allow(false);
  expect(spares.keptBytes).toBe(0);
  await fill(log, 3);
  await trimAll(log);
  expect(spares.keptBytes).toBe(0);
  expect(counters.get('log.segments.reused')).toBe(0);
});

/** Leaves the salt out, which nobody is to do. */
class UnsaltedSpares extends SpareSegments {
  override newSalt(): Uint8Array {
    return undefined as unknown as Uint8Array;
  }
}

/** The first record of the segment that is written over ends where a page does, so that no zeros follow it. */
const FIRST_RECORD_BYTES = 4096 - 48 - 16;

/**
 * A client has data in a segment that will be written over. It looks like a record of the one that will be there then, in
 * each place where one could begin.
 * @param basePosition where the client believes that this segment will begin
 * @returns where it does, and how many records come after the last that was appended, at the next opening
 */
async function forge(
  spares: SpareSegments,
  basePosition: number,
): Promise<{ readonly basePosition: number; readonly forged: number }> {
  const disk = new FaultyDisk(new SeededRandom(1));
  const { log, counters } = await open(disk, spares);
  for (let i = 0; i < 7; i++) await log.append([forgedPayload(basePosition)]);
  await fill(log, 1);
  await log.append([new Uint8Array(6000)]);
  await log.trimBefore(8);
  await settled();
  const { positions } = await log.append([new Uint8Array(FIRST_RECORD_BYTES)]);
  expect(counters.get('log.segments.reused')).toBe(1);
  const { nextIndex } = log;
  await log.sync();
  disk.kill();
  const reopened = await open(disk, newSpares());
  return {
    basePosition: (positions[0] as number) - 48 - 16,
    forged: reopened.log.nextIndex - nextIndex,
  };
}

function forgedPayload(basePosition: number): Uint8Array {
  const record = frameRecords([new Uint8Array(0)], {
    key: segmentKey({ basePosition }),
    offset: 4096,
    firstRelativeIndex: 1,
    durableEnd: 0,
  });
  const [bytes = new Uint8Array(0)] = record.parts;
  const payload = new Uint8Array(RECORD_BYTES);
  for (let at = 0; at < payload.length; at += bytes.length) payload.set(bytes, at);
  return payload;
}

it('takes nothing that a client has written for a record, be it made up as one', async () => {
  const { basePosition } = await forge(newSpares(), 0);
  expect(await forge(newSpares(), basePosition)).toEqual({ basePosition, forged: 0 });
  // Without a salt it is one.
  const unsalted = new UnsaltedSpares(new SeededRandom(7), 4 * SEGMENT_BYTES);
  expect(await forge(unsalted, basePosition)).toEqual({ basePosition, forged: 1 });
});

it('is told from a segment of a newer version of this program', async () => {
  const disk = new FaultyDisk(new SeededRandom(1));
  const { log } = await open(disk, newSpares());
  await log.close();
  const path = `/log/${disk.list('/log').find((name) => name.endsWith('.segment'))}`;
  const bytes = Buffer.from(disk.contents(path));
  bytes.writeUInt32BE(3, 8);
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 44)), 44);
  disk.replace(path, bytes);
  await expect(open(disk, newSpares())).rejects.toMatchObject({ kind: 'conflict', code: 'newer-format' });
});
