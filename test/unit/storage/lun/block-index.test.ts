import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockIndex } from '../../../../storage/lun/block-index.ts';

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

  it('says 0 for blocks never written', () => {
    const index = new BlockIndex();
    index.set(130, 77, 1);
    expect([index.position(129), index.position(131), index.position(9_999_999)]).toEqual([0, 0, 0]);
  });
});
