import { describe, expect, it } from 'vitest';
import { describeSlow } from '../../../../node/portal/slow-text.ts';

const member = (nodeId: string, returnsInMs: number | undefined) => ({
  nodeId,
  tookMs: 480.4,
  othersTookMs: 50,
  returnsInMs,
});

describe('what is said of slow members', () => {
  it('is nothing where there are none', () => {
    expect(describeSlow([], 'n1')).toBeUndefined();
  });

  it('is how slow they are, and what comes of it', () => {
    const pace = '480 ms for what takes others 50 ms';
    expect(describeSlow([member('n2', 7_200)], 'n1')).toBe(
      `n2 was taken out of the in-sync set for being slow (${pace}), and is let in again in 8 s at the earliest`,
    );
    expect(describeSlow([member('n2', 0)], 'n1')).toContain('let in again once it keeps up');
    expect(describeSlow([member('n1', undefined), member('n2', undefined)], 'n1')).toBe(
      `n1, which leads the group, is slow (${pace}), and clients go at its pace: move the group; ` +
        `n2 is slow (${pace}), and clients go at its pace: it is kept in sync while too few others are`,
    );
  });

  it('is whose disk takes nothing, and who has handed the group over for that', () => {
    expect(describeSlow([{ ...member('n1', undefined), stalledMs: 4_600 }], 'n1')).toBe(
      'n1, which leads the group, has a disk that has taken nothing for 5 s, and no other copy can take over',
    );
    expect(describeSlow([{ ...member('n1', 7_200), hasHandedOver: true }], 'n2')).toBe(
      'n1 led the group until its disk took nothing any more, and is let in again in 8 s at the earliest',
    );
  });
});
