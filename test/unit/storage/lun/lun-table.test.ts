import { describe, expect, it } from 'vitest';
import {
  decodeGroupRecord,
  encodeControlRecord,
  sealWriteRecord,
  writeHeaderBytes,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { type Lun, LunTable } from '../../../../storage/lun/lun-table.ts';

const images = { open: () => Promise.resolve(undefined) };

function write(lunId: number, firstBlock: number, blockCount = 1): Uint8Array {
  const payload = new Uint8Array(writeRecordBytes(blockCount));
  sealWriteRecord(payload, { epoch: 1, lunId, firstBlock, blockCount });
  return payload;
}

function reset(lunId: number, generation: number): Uint8Array {
  const base = { name: 'i', version: 1 };
  return encodeControlRecord({ kind: 'resetLun', epoch: 1, lunId, generation, base, lengthBlocks: 800 });
}

function table(): LunTable {
  const made = new LunTable(images, () => {});
  made.restart(1, []);
  return made;
}

function hold(into: LunTable, index: number, payload: Uint8Array): void {
  into.hold(index, index * 10_000, decodeGroupRecord(payload));
}

describe('LUN table', () => {
  it('applies held records only as far as they are committed', () => {
    const luns = table();
    hold(luns, 1, reset(5, 1));
    hold(luns, 2, write(5, 0));
    hold(luns, 3, write(5, 1));
    luns.applyHeld(3);
    expect(luns.appliedIndex).toBe(3);
    expect(luns.get(5)?.blocks.position(0)).toBe(20_000 + writeHeaderBytes(1));
    expect(luns.get(5)?.blocks.position(1)).toBe(0);
    luns.release(3);
    luns.applyHeld(9);
    expect(luns.get(5)?.blocks.position(1)).toBe(0);
    expect(() => luns.release(2)).toThrow('committed');
  });

  it('needs the record that gave a block up until the block is written again', () => {
    const luns = table();
    const discard = { kind: 'discard', epoch: 1, lunId: 5, firstBlock: 0, blockCount: 2 } as const;
    hold(luns, 1, reset(5, 1));
    for (let index = 2; index < 600; index++) hold(luns, index, write(5, 9));
    hold(luns, 600, encodeControlRecord(discard));
    for (let index = 601; index < 1200; index++) hold(luns, index, write(5, 9));
    luns.applyHeld(1200);
    expect(luns.get(5)?.blocks.position(1)).toBe(-6_000_000);
    expect(luns.firstNeededIndex()).toBeGreaterThan(256);
    expect(luns.firstNeededIndex()).toBeLessThanOrEqual(600);
    hold(luns, 1200, write(5, 0, 2));
    luns.applyHeld(1201);
    expect(luns.firstNeededIndex()).toBeGreaterThan(600);
  });

  it('drops everything of a generation at its reset', () => {
    const retired: Lun[] = [];
    const luns = new LunTable(images, (lun) => retired.push(lun));
    luns.restart(1, []);
    hold(luns, 1, reset(5, 1));
    hold(luns, 2, write(5, 0));
    hold(luns, 3, reset(5, 3));
    luns.applyHeld(3);
    const first = luns.get(5);
    luns.applyHeld(4);
    expect(luns.get(5)).not.toBe(first);
    expect(luns.get(5)?.blocks.writtenBlocks).toBe(0);
    expect(retired).toEqual([first]);
  });

  it.each([
    ['reset', reset(5, 3_002)],
    ['drop', encodeControlRecord({ kind: 'dropLun', epoch: 1, lunId: 5 })],
  ])('goes over none of the blocks at a %s, however many there are', (_, end) => {
    const luns = new LunTable(images, () => {});
    luns.restart(1, []);
    hold(luns, 1, reset(5, 1));
    for (let index = 2; index < 3_002; index++) hold(luns, index, write(5, index * 7));
    luns.applyHeld(3_002);
    const { blocks } = luns.get(5) as Lun;
    expect(blocks.writtenBlocks).toBe(3_000);
    const untouchable = (): never => {
      throw new Error('its index has been looked at');
    };
    for (const method of [
      'set',
      'discard',
      'position',
      'crc',
      'runLength',
      'lowestPosition',
      'snapshot',
    ] as const) {
      blocks[method] = untouchable;
    }
    hold(luns, 3_002, end);
    luns.applyHeld(3_003);
    expect(luns.get(5)?.blocks.writtenBlocks ?? 0).toBe(0);
    // Nothing of it keeps the log.
    expect(luns.firstNeededIndex()).toBe(3_003);
  });

  it('comes to the same content from a newer list and the rest of the log', () => {
    const log = [reset(5, 1), write(5, 0), write(5, 1), reset(5, 4), write(5, 1), reset(6, 6), write(6, 3)];
    const whole = table();
    for (const [i, payload] of log.entries()) hold(whole, i + 1, payload);
    whole.applyHeld(8);
    // Records from 3 on, over the list as it stood after all of them.
    const partial = new LunTable(images, () => {});
    partial.restart(3, whole.describe());
    for (let index = 3; index <= 7; index++) {
      partial.applyScanned({ index, position: index * 10_000, payload: log[index - 1] as Uint8Array });
    }
    expect(partial.describe()).toEqual(whole.describe());
    for (const lunId of [5, 6]) {
      for (let block = 0; block < 5; block++) {
        expect(partial.get(lunId)?.blocks.position(block)).toBe(whole.get(lunId)?.blocks.position(block));
      }
    }
  });

  it('ends a generation that came about after the reset that ends it was given its place', () => {
    const luns = table();
    luns.noteEnding(5, 1);
    luns.noteEnding(5, 3);
    hold(luns, 1, reset(5, 1));
    hold(luns, 2, write(5, 0));
    hold(luns, 3, reset(5, 3));
    luns.applyHeld(2);
    expect(luns.get(5)?.endingIndex).toBe(3);
    luns.release(3);
    luns.forgetInFlight(3);
    expect(luns.get(5)?.endingIndex).toBe(Number.POSITIVE_INFINITY);
  });

  it('knows from where on the log is needed', () => {
    const luns = table();
    hold(luns, 1, reset(5, 1));
    for (let index = 2; index < 1_000; index++) hold(luns, index, write(5, index % 10));
    luns.applyHeld(1_000);
    // Block 0 was last written by record 990; the place of one record in 256, or in so many bytes, is remembered.
    const needed = luns.firstNeededIndex();
    expect(needed).toBeGreaterThanOrEqual(768);
    expect(needed).toBeLessThanOrEqual(990);
    hold(luns, 1_000, reset(5, 1_000));
    luns.applyHeld(1_001);
    expect(luns.firstNeededIndex()).toBe(1_001);
  });
});
