import { afterEach, describe, expect, it, vi } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { MAX_JOINED_BLOCKS } from '../../../../storage/lun/limits.ts';
import { decodeGroupRecord } from '../../../../storage/lun/log-record.ts';
import { LunDevice } from '../../../../storage/lun/lun-device.ts';
import { RecordBatch } from '../../../../storage/lun/record-batch.ts';
import { RecordMemory } from '../../../../storage/lun/record-memory.ts';
import { content, IMAGE_BYTE, LENGTH_BLOCKS, SoleHost } from './sole-host.ts';

const BLOCK_BYTES = 4096;
const now = { forceUnitAccess: false };

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The record each write became, as pairs of its first block and its length in blocks. */
function recordsOf(write: (batch: RecordBatch, host: SoleHost) => void): [number, number][] {
  const host = new SoleHost();
  const batch = new RecordBatch(new RecordMemory());
  write(batch, host);
  return batch.take().map(({ payload }) => {
    const record = decodeGroupRecord(payload);
    return record.kind === 'write' ? [record.firstBlock, record.blockCount] : [-1, 0];
  });
}

function whole(firstBlock: number, blockCount: number, lunId = 1, epoch = 1) {
  const lengthBytes = blockCount * BLOCK_BYTES;
  const parts = [Buffer.alloc(lengthBytes, firstBlock)];
  return { epoch, lunId, startByte: firstBlock * BLOCK_BYTES, lengthBytes, parts, underlays: [] };
}

describe('writes of one turn', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('become one record where they follow each other on the disk', () => {
    const records = recordsOf((batch, { lun }) => {
      for (const [first, count] of [
        [4, 1],
        [5, 2],
        [7, 1],
        [7, 1],
        [9, 1],
        [8, 1],
      ] as const) {
        batch.write(lun, whole(first, count), 1 + batch.length);
      }
    });
    expect(records).toEqual([
      [4, 4],
      [7, 1],
      [9, 1],
      [8, 1],
    ]);
  });

  it('but not across another record, another generation, another reign', () => {
    const records = recordsOf((batch, { lun }) => {
      batch.write(lun, whole(0, 1), 1);
      batch.add([]);
      batch.write(lun, whole(1, 1), 2);
      batch.write(new SoleHost().lun, whole(2, 1), 3);
      batch.write(lun, whole(3, 1), 4);
      batch.write(lun, whole(4, 1, 1, 2), 5);
      batch.write(lun, whole(5, 1, 2, 2), 6);
    });
    expect(records.map(([first]) => first)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('nor beyond a length, none of them in two parts', () => {
    const records = recordsOf((batch, { lun }) => {
      for (let first = 0; first < 2 * MAX_JOINED_BLOCKS; first += 6)
        batch.write(lun, whole(first, 6), 1 + batch.length);
      batch.write(lun, whole(1000, 2 * MAX_JOINED_BLOCKS), 1 + batch.length);
      batch.write(lun, whole(1000 + 2 * MAX_JOINED_BLOCKS, 1), 1 + batch.length);
    });
    const atMost = Math.floor(MAX_JOINED_BLOCKS / 6) * 6;
    expect(records.slice(0, 2)).toEqual([
      [0, atMost],
      [atMost, atMost],
    ]);
    expect(records.slice(-2)).toEqual([
      [1000, 2 * MAX_JOINED_BLOCKS],
      [1000 + 2 * MAX_JOINED_BLOCKS, 1],
    ]);
  });

  it('share its number, and its fate', async () => {
    const host = new SoleHost();
    host.commitAtOnce = false;
    const device = new LunDevice(host.lun, host);
    const ends: unknown[][] = [];
    const begin = (lba: number): void => {
      const told: unknown[] = [];
      ends.push(told);
      expect(device.beginWrite(lba, [Buffer.alloc(BLOCK_BYTES, 5)], now, (error) => told.push(error))).toBe(
        true,
      );
    };
    begin(0);
    begin(8);
    begin(32);
    begin(40);
    expect(host.nextIndex).toBe(3);
    host.lose(2);
    host.commit();
    await turn();
    expect(ends).toMatchObject([[undefined], [undefined], [{ kind: 'no-space' }], [{ kind: 'no-space' }]]);
    expect([(await content(device, 8, 1))[0], (await content(device, 40, 1))[0]]).toEqual([5, IMAGE_BYTE]);
  });

  /** Many writes at once, of any alignment, most of them the next on the disk; whatever is lost was never there. */
  async function writeMany(
    seed: number,
    checks = true,
  ): Promise<{ writes: number; records: number; damaged: number }> {
    const random = new SeededRandom(seed);
    const host = new SoleHost();
    host.commitAtOnce = false;
    host.checks = checks;
    const device = new LunDevice(host.lun, host);
    const model = Buffer.alloc(LENGTH_BLOCKS * 512, IMAGE_BYTE);
    let writes = 0;
    let damaged = 0;
    let lba = 0;
    for (let round = 0; round < 60; round++) {
      const isLost = random.below(6) === 0;
      const before = host.nextIndex;
      const ends: Promise<unknown>[] = [];
      for (let i = random.below(12); i >= 0; i--) {
        if (random.below(4) === 0) lba = random.below(LENGTH_BLOCKS);
        const isAligned = random.below(4) > 0;
        if (isAligned) lba -= lba % 8;
        const wanted = isAligned ? 8 * (1 + random.below(3)) : 1 + random.below(20);
        const length = Math.min(wanted, LENGTH_BLOCKS - lba);
        const data = Buffer.alloc(length * 512, 1 + random.below(255));
        const isDiscard = isAligned && length % 8 === 0 && random.below(10) === 0;
        if (isDiscard) data.fill(0);
        const end = isDiscard ? device.discard(lba, length) : device.write(lba, [data], now);
        end.catch(() => {});
        ends.push(end);
        // Each is given its place before the next is looked at.
        await turn();
        writes++;
        if (!isLost) data.copy(model, lba * 512);
        lba = (lba + length) % LENGTH_BLOCKS;
      }
      if (isLost) host.lose(before);
      else host.commit();
      const outcomes = await Promise.allSettled(ends.map((end) => end.finally(() => host.commit())));
      if (isLost) expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
      const held = await content(device, 0, LENGTH_BLOCKS).catch(() => Buffer.alloc(0));
      if (!held.equals(model)) damaged++;
    }
    await host.replay();
    const again = await content(new LunDevice(host.lun, host), 0, LENGTH_BLOCKS).catch(() => Buffer.alloc(0));
    if (!again.equals(model)) damaged++;
    return { writes, records: host.nextIndex - 1, damaged };
  }

  it('leave on the disk what each of them wrote, under random ones of any alignment', async () => {
    for (let seed = 1; seed <= 3; seed++) {
      const { writes, records, damaged } = await writeMany(seed);
      expect(damaged).toBe(0);
      expect(records).toBeLessThan(0.7 * writes);
    }
  });

  it('would not, were no room taken for what is joined', async () => {
    vi.spyOn(RecordMemory.prototype, 'extend').mockReturnValue(true);
    expect((await writeMany(1, false)).damaged).toBeGreaterThan(0);
  });
});
