import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32cWithin } from '../../../base/crc32c.ts';
import {
  CRC_BLOCK_BYTES,
  crc32cOfBlocks,
  crc32cOfEach,
  FOLD_EXPONENTS,
  hasVectorChecksums,
} from '../../../base/crc32c-blocks.ts';
import { SeededRandom } from '../../../base/random.ts';

/** x^32 + ... + 1, the highest term first (RFC 3720 appendix B.4). */
const CRC32C_POLYNOMIAL = 0x1_1edc_6f41n;

/** What the table in base/crc32c.ts says, byte by byte. */
function expected(input: Uint8Array, from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const at = from + i * CRC_BLOCK_BYTES;
    return crc32cWithin(input, at, at + CRC_BLOCK_BYTES);
  });
}

function found(input: Uint8Array, from: number, count: number): number[] {
  const into = new Uint32Array(count);
  crc32cOfBlocks(input, from, count, into);
  return [...into];
}

describe('crc32cOfBlocks', () => {
  it.runIf(process.arch === 'x64')(
    'uses vector instructions, or the rest here would say nothing of them',
    () => {
      expect(hasVectorChecksums()).toBe(true);
    },
  );

  it('folds by a multiple of the polynomial', () => {
    let remainder = FOLD_EXPONENTS.reduce((sum, exponent) => sum ^ (1n << BigInt(exponent)), 0n);
    for (let bit = 400n; bit >= 32n; bit--) {
      if (((remainder >> bit) & 1n) === 1n) remainder ^= CRC32C_POLYNOMIAL << (bit - 32n);
    }
    expect(remainder).toBe(0n);
  });

  it('gives each block its CRC32C, wherever the blocks lie and however many they are', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), fc.nat({ max: 40 }), fc.integer(), (from, count, seed) => {
        const input = new SeededRandom(seed).bytes(from + count * CRC_BLOCK_BYTES + 3);
        expect(found(input, from, count)).toEqual(expected(input, from, count));
      }),
      { numRuns: 60 },
    );
  });

  it('tells every bit of a block from the other, whatever was there before', () => {
    const block = new Uint8Array(CRC_BLOCK_BYTES);
    for (let at = 0; at < CRC_BLOCK_BYTES; at++) {
      block[at] = 1 << (at % 8);
      expect(found(block, 0, 1), `a bit of byte ${at}`).toEqual(expected(block, 0, 1));
      block[at] = 0;
    }
    expect(found(block, 0, 1)).toEqual(expected(block, 0, 1));
    expect(found(block.fill(0xff), 0, 1)).toEqual(expected(block, 0, 1));
  });

  it('says the same as the native library where there are no such instructions', () => {
    const input = new SeededRandom(5).bytes(7 + 3 * CRC_BLOCK_BYTES);
    const into = new Uint32Array(3);
    crc32cOfEach(input, 7, 3, into);
    expect([...into]).toEqual(found(input, 7, 3));
  });
});
