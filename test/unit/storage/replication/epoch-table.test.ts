import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  divergenceIndex,
  type EpochEntry,
  epochAt,
  epochsBefore,
  withEpoch,
} from '../../../../storage/replication/epoch-table.ts';

/** A log as the epoch of each record, numbered from 1. */
function tableOf(epochs: readonly number[]): { epochs: EpochEntry[]; nextIndex: number } {
  let table: EpochEntry[] = [];
  for (const [i, epoch] of epochs.entries()) {
    if (epoch !== epochs[i - 1]) table = withEpoch(table, { epoch, startIndex: i + 1 });
  }
  return { epochs: table, nextIndex: epochs.length + 1 };
}

const rising = fc
  .array(fc.integer({ min: 1, max: 6 }), { maxLength: 12 })
  .map((list) => list.sort((a, b) => a - b));

describe('table of epochs', () => {
  it('tells the epoch of every record', () => {
    const { epochs } = tableOf([2, 2, 5]);
    expect([0, 1, 2, 3, 4].map((index) => epochAt(epochs, index))).toEqual([0, 2, 2, 5, 5]);
    expect(epochsBefore(epochs, 3)).toEqual([{ epoch: 2, startIndex: 1 }]);
  });

  it('finds the longest part that two logs have in common', () => {
    fc.assert(
      fc.property(rising, rising, (a, b) => {
        let expected = Math.min(a.length, b.length) + 1;
        while (expected > 1 && a[expected - 2] !== b[expected - 2]) expected--;
        expect(divergenceIndex(tableOf(a), tableOf(b))).toBe(expected);
        expect(divergenceIndex(tableOf(b), tableOf(a))).toBe(expected);
      }),
    );
  });
});
