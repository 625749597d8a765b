import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BudgetShare, MemoryBudget } from '../../../../node/iscsi/memory-budget.ts';

const limits = { limitBytes: 1000, floorBytes: 10, floorsTogetherBytes: 100, maxOverdrawn: 1 };
const never = (): boolean => false;
const always = (): boolean => true;

test('above the limit a share waits until enough has drained', () => {
  const budget = new MemoryBudget(limits);
  let woken = 0;
  const heavy = budget.join(() => {});
  const other = budget.join(() => woken++);
  expect(heavy.mayTake(990, never)).toBe(true);
  expect(other.mayTake(20, never)).toBe(false);
  expect(budget.waitingCount).toBe(1);
  heavy.update(800);
  expect(woken).toBe(0);
  heavy.update(700);
  expect(woken).toBe(1);
  expect(other.mayTake(20, never)).toBe(true);
});

test('whoever holds little never waits', () => {
  const budget = new MemoryBudget(limits);
  budget.join(() => {}).update(5000);
  expect(budget.join(() => {}).mayTake(10, never)).toBe(true);
});

test('the many together hold no more than all floors may come to, beside the limit', () => {
  const budget = new MemoryBudget(limits);
  const heavy = budget.join(() => {});
  heavy.update(1001);
  const shares = Array.from({ length: 99 }, () => budget.join(() => {}));
  for (const share of shares) {
    // Each takes a byte more as long as it may.
    let heldBytes = 0;
    while (heldBytes < 50 && share.mayTake(heldBytes, never)) heldBytes++;
  }
  expect(budget.heldBytes - 1001).toBeLessThanOrEqual(limits.floorsTogetherBytes + shares.length);
  for (const share of shares.slice(5)) share.leave();
  shares[90]?.leave();
  expect(budget.floorBytes, 'with six left each has its floor again').toBe(10);
  expect(shares[0]?.mayTake(10, never)).toBe(true);
});

test('a few may go on to finish writes; when one has, the next may', () => {
  const budget = new MemoryBudget(limits);
  let woken = 0;
  budget.join(() => {}).update(5000);
  const one = budget.join(() => {});
  const two = budget.join(() => woken++);
  expect(one.mayTake(100, always)).toBe(true);
  expect(two.mayTake(100, always)).toBe(false);
  expect(one.mayTake(100, never)).toBe(false);
  expect(woken).toBe(1);
  expect(two.mayTake(100, always)).toBe(true);
});

test('a connection that goes takes what it held with it', () => {
  const budget = new MemoryBudget(limits);
  let woken = 0;
  const gone = budget.join(() => {});
  gone.update(5000);
  const waiting = budget.join(() => woken++);
  expect(waiting.mayTake(20, never)).toBe(false);
  gone.leave();
  expect([woken, budget.heldBytes]).toEqual([1, 20]);
});

test('whatever shares do, nobody waits once everything has drained', () => {
  const step = fc.tuple(fc.nat(4), fc.nat(600), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const budget = new MemoryBudget(limits);
      const waiting = new Set<number>();
      const shares: BudgetShare[] = [0, 1, 2, 3, 4].map((i) => budget.join(() => waiting.delete(i)));
      for (const [i, heldBytes, mustFinish] of steps) {
        const share = shares[i] as BudgetShare;
        if (share.mayTake(heldBytes, () => mustFinish)) waiting.delete(i);
        else waiting.add(i);
      }
      for (const share of shares) share.update(0);
      expect([...waiting]).toEqual([]);
      expect(budget.heldBytes).toBe(0);
    }),
  );
});
