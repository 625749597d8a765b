import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { BlockIndex } from '../../../../storage/lun/block-index.ts';
import { MAX_DISCARD_BLOCKS } from '../../../../storage/lun/limits.ts';
import {
  type ControlRecord,
  decodeGroupRecord,
  encodeControlRecord,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { type Lun, LunTable } from '../../../../storage/lun/lun-table.ts';
import { RecordBatch } from '../../../../storage/lun/record-batch.ts';
import { RecordMemory } from '../../../../storage/lun/record-memory.ts';
import { voidFor } from '../../../../storage/lun/superseded.ts';

const images = { open: () => Promise.resolve(undefined) };
const base = { name: 'i', version: 1 };
const describing = (lunId: number, generation: number) => ({ lunId, generation, base, lengthBlocks: 800 });

function write(lunId: number, firstBlock: number, blockCount = 1): Uint8Array {
  const payload = new Uint8Array(writeRecordBytes(blockCount));
  sealWriteRecord(payload, { epoch: 1, lunId, firstBlock, blockCount });
  return payload;
}

const control = (record: ControlRecord): Uint8Array => encodeControlRecord(record);
const reset = (lunId: number, generation: number): Uint8Array =>
  control({ kind: 'resetLun', epoch: 1, ...describing(lunId, generation) });

/** Records from `index` on take effect, each at a multiple of 10,000. */
function apply(table: LunTable, index: number, ...payloads: Uint8Array[]): void {
  for (const [i, payload] of payloads.entries()) {
    table.hold(index + i, (index + i) * 10_000, decodeGroupRecord(payload));
  }
  table.applyHeld(index + payloads.length);
}

function table(...payloads: Uint8Array[]): LunTable {
  const made = new LunTable(images, () => {});
  made.restart(1, []);
  apply(made, 1, ...payloads);
  return made;
}

describe('the index of blocks', () => {
  it('knows the lowest place again once the block that had it is written anew', () => {
    const index = new BlockIndex();
    index.set(0, 100, 1);
    index.set(1, 200, 1);
    expect(index.lowestPosition()).toBe(100);
    index.set(0, 300, 1);
    expect(index.lowestPosition()).toBe(200);
  });

  it('keeps what a snapshot holds, however often another one was released', () => {
    const index = new BlockIndex();
    index.set(0, 100, 1);
    const [one, other] = [index.snapshot(), index.snapshot()];
    one.written.release();
    one.written.release();
    index.set(0, 300, 1);
    const restored = new BlockIndex();
    const leaves = other.written.leaves.map(({ entries, count }) => entries.slice(0, 7 * count));
    restored.adopt(leaves, other.written.newestHigh, other.givenUp);
    expect(restored.position(0)).toBe(100);
  });

  it('knows places beyond 2^48', () => {
    const index = new BlockIndex();
    const far = 2 ** 48 + 2 ** 33 + 5;
    index.set(0, far - 2 ** 40, 1);
    index.set(1, far, 1);
    expect([index.position(0), index.position(1)]).toEqual([far - 2 ** 40, far]);
  });

  it('needs the record that gave blocks up until each of them is written again', () => {
    const index = new BlockIndex();
    index.discard(0, 4, 1000);
    for (let block = 10; block < 20; block++) index.set(block, 2000 + block, 1);
    for (const block of [0, 3, 1]) {
      index.set(block, 3000 + block, 1);
      expect(index.lowestPosition()).toBe(1000);
    }
    index.set(2, 3002, 1);
    expect(index.lowestPosition()).toBe(2010);
  });
});

describe('a record', () => {
  it('has state of its own, whatever becomes of the memory it came in', () => {
    const payload = control({ kind: 'serverState', epoch: 1, lunId: 5, state: Buffer.from('state') });
    const record = decodeGroupRecord(payload);
    payload.fill(0);
    expect(record).toMatchObject({ state: Uint8Array.from(Buffer.from('state')) });
  });

  it('gives up no more blocks than one may', () => {
    const giving = (blockCount: number): Uint8Array =>
      control({ kind: 'discard', epoch: 1, lunId: 5, firstBlock: 0, blockCount });
    expect(decodeGroupRecord(giving(MAX_DISCARD_BLOCKS))).toMatchObject({ blockCount: MAX_DISCARD_BLOCKS });
    expect(() => decodeGroupRecord(giving(MAX_DISCARD_BLOCKS + 1))).toThrow(ProtocolError);
    expect(() => decodeGroupRecord(giving(0))).toThrow(ProtocolError);
  });
});

describe('a batch of records', () => {
  it('that was dropped is empty', () => {
    const luns = table(reset(1, 1));
    const batch = new RecordBatch(new RecordMemory());
    const bytes = new Uint8Array(4096);
    const of = { epoch: 1, lunId: 1, startByte: 0, lengthBytes: 4096, parts: [bytes], underlays: [] };
    batch.write(luns.get(1) as Lun, of, 2);
    expect(batch.length).toBe(1);
    batch.drop();
    expect(batch.length).toBe(0);
    expect(batch.take()).toEqual([]);
  });
});

describe('a table of LUNs', () => {
  it('that begins from a list is not changed by older records of what the list has', () => {
    const discard = control({ kind: 'discard', epoch: 1, lunId: 5, firstBlock: 0, blockCount: 2 });
    const state = control({ kind: 'serverState', epoch: 1, lunId: 5, state: Buffer.from('old') });
    const drop = control({ kind: 'dropLun', epoch: 1, lunId: 5 });
    for (const record of [write(5, 0), discard, state, drop, reset(5, 3)]) {
      const luns = new LunTable(images, () => {});
      luns.restart(3, [describing(5, 9)]);
      const lun = luns.get(5);
      apply(luns, 3, record);
      expect(luns.get(5)).toBe(lun);
      expect(luns.describe()).toEqual([describing(5, 9)]);
      expect(lun?.blocks.position(0)).toBe(0);
    }
  });

  it('that begins anew knows of no reset that was on its way before', () => {
    const luns = table(reset(5, 1));
    luns.noteEnding(5, 2);
    luns.restart(10, [describing(5, 1)]);
    luns.forgetInFlight(15);
    expect(luns.get(5)?.endingIndex).toBe(Number.POSITIVE_INFINITY);
  });

  it('that begins anew knows of no drop before, and takes it that there was one', () => {
    const luns = table();
    luns.restart(10, []);
    expect(luns.lastDropIndex).toBe(10);
  });

  it('restored from what it once was needs the same of the log, which is as long', () => {
    const luns = table(reset(5, 1), ...Array.from({ length: 1_000 }, (_, i) => write(5, i % 100)));
    const { index, lastPosition, samples, luns: parts, release } = luns.snapshot();
    const restored = new LunTable(images, () => {});
    restored.restore({
      index,
      lastPosition,
      samples,
      luns: parts.map(({ description, blocks }) => ({
        description,
        leaves: blocks.written.leaves.map(({ entries, count }) => entries.slice(0, 7 * count)),
        newestHigh: blocks.written.newestHigh,
        givenUp: blocks.givenUp,
      })),
    });
    release();
    expect(restored.firstNeededIndex()).toBe(luns.firstNeededIndex());
    expect(restored.firstNeededIndex()).toBeGreaterThan(600);
    expect(restored.logBytes).toBe(luns.logBytes);
    expect(restored.bytesFrom(9_000_000)).toBe(luns.bytesFrom(9_000_000));
  });
});

describe('a void', () => {
  const record = (index: number, payload: Uint8Array) => ({ index, position: index * 10_000, payload });

  it('stands for nothing of a LUN that was dropped by what can be lost', () => {
    const luns = table(reset(5, 1), write(5, 0), control({ kind: 'dropLun', epoch: 1, lunId: 5 }));
    const of = record(2, write(5, 0));
    expect(voidFor(luns, of, { index: 3, position: 25_000 })).toBeUndefined();
    expect(voidFor(luns, of, { index: 4, position: 35_000 })).toBeDefined();
  });

  it('stands for nothing that has not taken effect', () => {
    const luns = table(reset(5, 1));
    expect(voidFor(luns, record(3, write(6, 0)), { index: 9, position: 95_000 })).toBeUndefined();
  });
});
