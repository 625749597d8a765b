import fc from 'fast-check';
import { expect, test } from 'vitest';
import { serialAdd, serialDistance } from '../../../../base/serial-number.ts';
import { CommandWindow } from '../../../../node/iscsi/command-window.ts';

test('commands in order are delivered, and the window moves as they are answered', () => {
  const window = new CommandWindow(10, 4);
  expect([window.expCmdSN, window.maxCmdSN]).toEqual([10, 13]);
  expect([10, 11, 12, 13].map((n) => window.arrive(n))).toEqual(Array(4).fill('deliver'));
  expect([window.expCmdSN, window.maxCmdSN]).toEqual([14, 13]);
  expect(window.arrive(14)).toBe('ignore');
  window.answered();
  expect(window.maxCmdSN).toBe(14);
  expect(window.arrive(14)).toBe('deliver');
});

test('a command that comes early waits for the gap; duplicates are ignored', () => {
  const window = new CommandWindow(1, 8);
  expect([3, 2, 2, 3].map((n) => window.arrive(n))).toEqual(['hold', 'hold', 'ignore', 'ignore']);
  expect(window.releaseHeld()).toBeUndefined();
  expect(window.arrive(1)).toBe('deliver');
  expect([window.releaseHeld(), window.releaseHeld(), window.releaseHeld()]).toEqual([2, 3, undefined]);
  expect(window.arrive(2)).toBe('ignore');
  expect([window.expCmdSN, window.outstanding]).toEqual([4, 3]);
});

test('an aborted command that never came closes its gap', () => {
  const window = new CommandWindow(1, 8);
  expect(window.arrive(2)).toBe('hold');
  expect(window.skip(1)).toBe(true);
  expect(window.skip(1), 'only once').toBe(false);
  expect(window.releaseHeld()).toBe(2);
  expect(window.arrive(1)).toBe('ignore');
});

test('so does one further on, or one that is held, when its turn comes', () => {
  const window = new CommandWindow(1, 8);
  expect(window.arrive(2)).toBe('hold');
  expect([window.skip(2), window.skip(3), window.skip(3), window.skip(9)]).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect([window.arrive(2), window.arrive(3)]).toEqual(['ignore', 'ignore']);
  expect(window.expCmdSN).toBe(1);
  expect(window.arrive(1)).toBe('deliver');
  expect(window.expCmdSN).toBe(4);
});

test('a rejected command leaves a gap, which keeps what was aborted behind it', () => {
  const window = new CommandWindow(1, 8);
  expect(window.skip(2)).toBe(true);
  expect(window.arrive(1)).toBe('deliver');
  window.answered();
  window.refuse(1);
  expect([window.expCmdSN, window.maxCmdSN]).toEqual([1, 8]);
  expect([window.arrive(2), window.arrive(3)]).toEqual(['ignore', 'hold']);
  expect(window.arrive(1)).toBe('deliver');
  expect(window.releaseHeld()).toBe(3);
});

test('what lies before a command can be told, and skipped', () => {
  const window = new CommandWindow(1, 4);
  expect([1, 0, 6, 100].map((n) => window.hasAllBefore(n))).toEqual([true, true, true, true]);
  expect([2, 5].map((n) => window.hasAllBefore(n))).toEqual([false, false]);
  window.arrive(3);
  window.skipAllBefore(4);
  expect([window.expCmdSN, window.releaseHeld()]).toEqual([4, undefined]);
});

test('the numbers wrap', () => {
  const window = new CommandWindow(0xffff_fffe, 4);
  expect(window.maxCmdSN).toBe(1);
  expect([0xffff_fffe, 0xffff_ffff, 0, 1].map((n) => window.arrive(n))).toEqual(Array(4).fill('deliver'));
  expect(window.expCmdSN).toBe(2);
  expect(window.arrive(0x8000_0002)).toBe('ignore');
});

test('whatever arrives, each number is delivered once, in order, and MaxCmdSN never goes back', () => {
  const first = fc.integer({ min: 0, max: 0xffff_ffff });
  const steps = fc.array(fc.integer({ min: -4, max: 12 }), { maxLength: 200 });
  fc.assert(
    fc.property(first, steps, (start, offsets) => {
      const window = new CommandWindow(start, 8);
      let expected = start;
      let max = window.maxCmdSN;
      const take = (cmdSN: number): void => {
        expect(cmdSN).toBe(expected);
        expected = serialAdd(expected, 1);
      };
      for (const offset of offsets) {
        const cmdSN = serialAdd(expected, offset);
        if (window.arrive(cmdSN) === 'deliver') {
          take(cmdSN);
          for (let held = window.releaseHeld(); held !== undefined; held = window.releaseHeld()) take(held);
        }
        if (window.outstanding > 0 && offset % 2 === 0) window.answered();
        expect(serialDistance(max, window.maxCmdSN)).toBeGreaterThanOrEqual(0);
        max = window.maxCmdSN;
        expect(serialDistance(window.expCmdSN, max)).toBeGreaterThanOrEqual(-1);
        expect(window.outstanding).toBeLessThanOrEqual(8);
      }
    }),
  );
});
