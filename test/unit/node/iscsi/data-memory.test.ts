import { describe, expect, test } from 'vitest';
import { DataMemory, ReadLoan } from '../../../../node/iscsi/data-memory.ts';
import { LARGEST_PIECE_BYTES, MAX_FREE_DATA_BYTES } from '../../../../node/iscsi/limits.ts';

describe('memory for data', () => {
  test('comes in the length that was asked for, new or used', () => {
    const memory = new DataMemory();
    const lengths = [1, 512, 4096, 4097, 65_536, LARGEST_PIECE_BYTES, LARGEST_PIECE_BYTES + 1];
    for (let round = 0; round < 2; round++) {
      const taken = lengths.map((lengthBytes) => memory.take(lengthBytes));
      expect(taken.map(({ length }) => length)).toEqual(lengths);
      expect(new Set(taken.map(({ buffer }) => buffer)).size).toBe(lengths.length);
      memory.giveBack(taken);
    }
  });

  test('is used again once it was given back, in another length of the same size', () => {
    const memory = new DataMemory();
    const first = memory.take(5000);
    expect(memory.take(5000).buffer).not.toBe(first.buffer);
    memory.giveBack([first]);
    expect(memory.freeBytes).toBe(8192);
    const second = memory.take(8192);
    expect(second.buffer).toBe(first.buffer);
    expect(second.length).toBe(8192);
    expect(memory.freeBytes).toBe(0);
  });

  test('that waits to be used again is bounded', () => {
    const memory = new DataMemory();
    const count = MAX_FREE_DATA_BYTES / LARGEST_PIECE_BYTES + 3;
    memory.giveBack(Array.from({ length: count }, () => memory.take(LARGEST_PIECE_BYTES)));
    expect(memory.freeBytes).toBe(MAX_FREE_DATA_BYTES);
    memory.giveBack([memory.take(LARGEST_PIECE_BYTES + 1)]);
    expect(memory.freeBytes).toBe(MAX_FREE_DATA_BYTES);
  });

  test('lent for reads comes back read by read', () => {
    const memory = new DataMemory();
    const loan = new ReadLoan(memory);
    expect(loan.end()).toBeUndefined();
    loan.take(4096);
    loan.take(8192);
    const first = loan.end();
    loan.take(16_384);
    const second = loan.end();
    expect(memory.freeBytes).toBe(0);
    first?.();
    expect(memory.freeBytes).toBe(12_288);
    second?.();
    expect(memory.freeBytes).toBe(28_672);
  });
});
