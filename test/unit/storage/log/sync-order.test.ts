import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogFailure, LogFullError } from '../../../../base/record-log.ts';
import { DurableMarker, MARKER_FILE } from '../../../../storage/log/durable-marker.ts';
import { openSegmentedLog, type SegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../../../storage/log/spare-segments.ts';
import { FaultyDisk, type Pace, systemError } from '../../../support/faulty-disk.ts';
import { DIRECTORY, segments } from './log-files.ts';

/** What is done in which order, where only a loss of power at the wrong moment would tell. */

const HEADER_BYTES = 48;

function newDisk(seed = 1): FaultyDisk {
  return new FaultyDisk(new SeededRandom(seed));
}

async function open(
  disk: FaultyDisk,
  options: { segmentSizeBytes?: number; spares?: SpareSegments; pace?: Pace } = {},
): Promise<SegmentedLog> {
  const { log } = await openSegmentedLog({
    directory: DIRECTORY,
    fileSystem: disk.mount(options.pace),
    segmentSizeBytes: options.segmentSizeBytes ?? 1 << 20,
    spares: options.spares,
    logger: silentLogger,
    counters: new CounterSet(),
  });
  return log;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function settled(): Promise<void> {
  for (let i = 0; i < 8; i++) await turn();
}

/** Holds every operation of one kind until it is let go. */
class Hold {
  #held: (() => void)[] = [];
  on: string | undefined;

  readonly pace: Pace = (operation) => {
    if (operation !== this.on) return Promise.resolve();
    return new Promise((resolve) => this.#held.push(resolve));
  };

  letGo(): void {
    this.on = undefined;
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

describe('a sync', () => {
  it('covers nothing that was written while it was under way', async () => {
    const disk = newDisk();
    const hold = new Hold();
    const log = await open(disk, { pace: hold.pace });
    const [position] = (await log.append([Buffer.from('covered!')])).positions;
    hold.on = 'syncData';
    const syncing = log.sync();
    await settled();
    await log.append([Buffer.from('not yet')]);
    expect(log.durableNextIndex).toBe(1);
    hold.letGo();
    await syncing;
    expect(log.durableNextIndex).toBe(2);
    await settled();
    expect(await DurableMarker.read(disk.mount(), DIRECTORY)).toBe((position as number) + 8);
  });

  it('is not over before what was appended before it is written', async () => {
    const disk = newDisk();
    const hold = new Hold();
    const log = await open(disk, { pace: hold.pace });
    hold.on = 'write';
    const appending = log.append([Buffer.from('slow')]);
    let isOver = false;
    const syncing = log.sync().then(() => {
      isOver = true;
    });
    await settled();
    expect(isOver).toBe(false);
    hold.letGo();
    await Promise.all([appending, syncing]);
    expect(log.durableNextIndex).toBe(2);
  });

  it('that finds no space has failed like any other: what was not written down may be gone', async () => {
    const disk = newDisk();
    const log = await open(disk);
    await log.append([Buffer.from('a')]);
    disk.fault = (operation) => (operation === 'syncData' ? systemError('ENOSPC') : undefined);
    await expect(log.sync()).rejects.toBeInstanceOf(LogFailure);
    disk.fault = () => undefined;
    await expect(log.sync()).rejects.toBeInstanceOf(LogFailure);
    await expect(log.append([Buffer.from('b')])).rejects.toBeInstanceOf(LogFailure);
  });
});

describe('a marker that cannot be written', () => {
  it('ends the log, which would claim less than it has made sure of', async () => {
    const disk = newDisk();
    const log = await open(disk);
    const failures: LogFailure[] = [];
    log.onFailure((failure) => failures.push(failure));
    await log.append([Buffer.from('a')]);
    disk.fault = (operation, path) =>
      operation === 'write' && path.endsWith(MARKER_FILE) ? systemError('EIO') : undefined;
    await log.sync();
    await settled();
    expect(failures).toHaveLength(1);
    await expect(log.append([Buffer.from('b')])).rejects.toBeInstanceOf(LogFailure);
  });

  it('is told of to whoever asks only later', async () => {
    const disk = newDisk();
    const log = await open(disk);
    disk.fault = (operation) => (operation === 'write' ? systemError('EIO') : undefined);
    await expect(log.append([Buffer.from('a')])).rejects.toBeInstanceOf(LogFailure);
    const failures: LogFailure[] = [];
    log.onFailure((failure) => failures.push(failure));
    await turn();
    expect(failures).toHaveLength(1);
  });
});

describe('a write for which there is no space', () => {
  it('is undone for certain before anybody hears of it', async () => {
    const disk = newDisk();
    const log = await open(disk);
    await log.append([Buffer.from('a')]);
    disk.capacityBytes = disk.usedBytes + 1000;
    const from = disk.operations.length;
    await expect(log.append([Buffer.alloc(3000, 1)])).rejects.toBeInstanceOf(LogFullError);
    const done = disk.operations.slice(from).filter((operation) => !operation.startsWith('writeNow'));
    expect(done.map((operation) => operation.split(' ')[0])).toEqual(['write', 'truncate', 'syncData']);
  });
});

describe('a segment that is written over a former one', () => {
  const SEGMENT_BYTES = 64 * 1024;

  async function reused(disk: FaultyDisk): Promise<SegmentedLog> {
    const spares = new SpareSegments(new SeededRandom(7), 4 * SEGMENT_BYTES);
    const log = await open(disk, { segmentSizeBytes: SEGMENT_BYTES, spares });
    for (let i = 0; i < 16; i++) await log.append([new Uint8Array(8000).fill(i)]);
    await log.trimBefore(9);
    await settled();
    await log.append([new Uint8Array(16_000)]);
    expect(disk.contents(segments(disk).at(-1) as string).length).toBeGreaterThan(SEGMENT_BYTES / 2);
    return log;
  }

  it('is cut to what it holds once nothing more is added', async () => {
    const disk = newDisk();
    const log = await reused(disk);
    const sealed = segments(disk).at(-1) as string;
    await log.append([Buffer.from('goes')]);
    await log.truncateFrom(log.nextIndex - 1);
    expect(disk.contents(sealed).length).toBe(HEADER_BYTES + 16 + 16_000 + 16 + 8);
  });

  it('takes no more than its records once it has been cut for want of space', async () => {
    const disk = newDisk();
    const log = await reused(disk);
    disk.fault = (operation) => (operation.startsWith('write') ? systemError('ENOSPC') : undefined);
    await expect(log.append([Buffer.alloc(3000, 1)])).rejects.toBeInstanceOf(LogFullError);
    disk.fault = () => undefined;
    await log.append([Buffer.from('12345678')]);
    const last = segments(disk).at(-1) as string;
    expect(disk.contents(last).length).toBe(HEADER_BYTES + 16 + 16_000 + 16 + 8);
  });
});
