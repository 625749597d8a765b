import { describe, expect, it } from 'vitest';
import type { Operation } from './history.ts';
import { findViolationAfterPowerLoss, mayHaveSurvived } from './power-loss.ts';

const write = (value: number, invokedMs: number, respondedMs: number, isDurable = false): Operation => ({
  kind: 'write',
  value,
  invokedMs,
  respondedMs,
  isDurable,
});
const read = (value: number, atMs: number): Operation => ({
  kind: 'read',
  value,
  invokedMs: atMs,
  respondedMs: atMs + 1,
});

describe('after a loss of power', () => {
  it('whatever was not followed by something flushed may be there', () => {
    const history = [
      write(1, 0, 1),
      write(2, 2, 3, true),
      write(3, 2, 9),
      write(4, 10, Number.POSITIVE_INFINITY),
    ];
    expect(mayHaveSurvived(history, undefined)).toEqual(new Set([2, 3, 4]));
  });

  it('what an earlier loss left may be there, while nothing has been flushed', () => {
    expect(mayHaveSurvived([write(5, 0, 1)], new Set([1, 2]))).toEqual(new Set([1, 2, 5]));
    expect([...mayHaveSurvived([write(5, 0, 1, true)], new Set([1, 2]))]).toEqual([5]);
  });

  it('one of the survivors is there, and only one', () => {
    const survivors = new Set([1, 2]);
    expect(
      findViolationAfterPowerLoss([read(1, 5), read(1, 7), write(9, 8, 9), read(9, 10)], survivors),
    ).toBeUndefined();
    expect(findViolationAfterPowerLoss([read(1, 5), read(2, 7)], survivors)).toContain('were read after it');
    expect(findViolationAfterPowerLoss([read(3, 5)], survivors)).toContain('had been flushed');
    expect(findViolationAfterPowerLoss([write(9, 1, 2), read(1, 5)], survivors)).toContain('9');
  });
});
