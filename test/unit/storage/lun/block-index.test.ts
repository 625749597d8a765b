import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockIndex, type IndexSnapshot } from '../../../../storage/lun/block-index.ts';
import { ENTRY_HALFWORDS } from '../../../../storage/lun/block-tree.ts';
import { MAX_DISCARD_BLOCKS } from '../../../../storage/lun/limits.ts';

/** An array's buffer, the object of the leaf and its places in the rows, as the bench of the index measures them. */
const LEAF_OVERHEAD_BYTES = 400;

describe('block index', () => {
  it('knows the newest place of every block', () => {
    const write = fc.tuple(fc.nat(5_000), fc.integer({ min: 1, max: 2 ** 45 }), fc.nat(0xffffffff));
    fc.assert(
      fc.property(fc.array(write), (writes) => {
        const index = new BlockIndex();
        const model = new Map<number, { position: number; crc: number }>();
        for (const [block, position, crc] of writes) {
          index.set(block, position, crc);
          model.set(block, { position, crc });
        }
        expect(index.writtenBlocks).toBe(model.size);
        for (const [block, { position, crc }] of model) {
          expect(index.position(block)).toBe(position);
          expect(index.crc(block)).toBe(crc);
        }
        const lowest = Math.min(...Array.from(model.values(), (m) => m.position));
        expect(index.lowestPosition()).toBe(lowest);
      }),
    );
  });

  it('knows blocks given up by the record that did so, whole spans in one entry', () => {
    const span = MAX_DISCARD_BLOCKS;
    const step = fc.record({
      discard: fc.boolean(),
      block: fc.oneof(fc.nat(2 * span), fc.constantFrom(0, span)),
      count: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(span, 2 * span)),
      position: fc.integer({ min: 1, max: 2 ** 45 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.array(fc.nat(4 * span)), (steps, probes) => {
        const index = new BlockIndex();
        const model = new Float64Array(5 * span);
        for (const { discard, block, count, position } of steps) {
          if (discard) {
            index.discard(block, count, position);
            model.fill(-position, block, block + count);
          } else {
            index.set(block, position, 9);
            model[block] = position;
          }
        }
        expect(index.writtenBlocks).toBe(model.filter((position) => position > 0).length);
        for (const block of [...probes, ...steps.map((s) => s.block)]) {
          expect(index.position(block)).toBe(model[block]);
          const kind = Math.sign(model[block] as number);
          let end = block;
          while (end < block + 700 && Math.sign(model[end] as number) === kind) end++;
          expect(index.runLength(block, 700)).toBe(end - block);
        }
        const used = model.filter((position) => position !== 0).map(Math.abs);
        const lowest = used.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
        expect(index.lowestPosition()).toBe(lowest);
      }),
      { numRuns: 60 },
    );
  });

  it('lets go of a record that gave up a span once every block of it goes by another', () => {
    const index = new BlockIndex();
    index.discard(0, MAX_DISCARD_BLOCKS, 1);
    index.set(0, 2, 9);
    index.discard(1, MAX_DISCARD_BLOCKS, 3);
    expect(index.lowestPosition()).toBe(2);
    expect(index.position(MAX_DISCARD_BLOCKS - 1)).toBe(-3);
  });

  it('keeps what a snapshot held, whatever is written and given up meanwhile', () => {
    const step = fc.record({
      kind: fc.constantFrom('write', 'write', 'write', 'run', 'discard', 'snapshot'),
      block: fc.oneof(fc.nat(6_000), fc.nat(0xffffffff - 4_096)),
      count: fc.integer({ min: 1, max: 2_500 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const index = new BlockIndex();
        const model = new Map<number, number>();
        let held: { snapshot: IndexSnapshot; model: Map<number, number> } | undefined;
        let position = 2 ** 47;
        for (const { kind, block, count } of steps) {
          position += 5_000;
          const length = kind === 'write' ? 1 : count;
          if (kind === 'snapshot') {
            held?.snapshot.written.release();
            held = { snapshot: index.snapshot(), model: new Map(model) };
          } else if (kind === 'discard') {
            index.discard(block, length, position);
            for (let b = block; b < block + length; b++) model.delete(b);
          } else {
            for (let b = block; b < block + length; b++) {
              index.set(b, position + b - block, b);
              model.set(b, position + b - block);
            }
          }
        }
        const restored = new BlockIndex();
        const { snapshot, model: then } = held ?? { snapshot: index.snapshot(), model };
        const { leaves, newestHigh } = snapshot.written;
        const entries = leaves.map((leaf) => leaf.entries.slice(0, leaf.count * ENTRY_HALFWORDS));
        restored.adopt(entries, newestHigh, snapshot.givenUp);
        for (const [of, known] of [
          [index, model],
          [restored, then],
        ] as const) {
          const wrong = Array.from(known).filter(([b, at]) => of.position(b) !== at || of.crc(b) !== b);
          expect(wrong).toEqual([]);
          expect(of.writtenBlocks).toBe(known.size);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('takes at most 16 bytes a block, wherever the blocks are', () => {
    for (const spread of [1, 3, 1_000]) {
      const index = new BlockIndex();
      let block = 1;
      for (let i = 0; i < 60_000; i++) {
        // A full cycle through all residues, in no order that suits the index.
        block = (block * 48_271) % 2_147_483_647;
        index.set(spread === 1 ? i : block % (60_000 * spread), 100 + i, i);
      }
      const { leaves } = index.snapshot().written;
      const bytes = leaves.reduce((sum, { entries }) => sum + entries.byteLength + LEAF_OVERHEAD_BYTES, 0);
      expect(bytes / index.writtenBlocks, `spread over ${spread} times as many`).toBeLessThan(16);
    }
  });

  it('says 0 for blocks never written', () => {
    const index = new BlockIndex();
    index.set(130, 77, 1);
    expect([index.position(129), index.position(131), index.position(9_999_999)]).toEqual([0, 0, 0]);
  });
});
