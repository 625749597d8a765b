import { expect, it } from 'vitest';
import { SAME_ORDER_MS } from '../../../node/limits.ts';
import { StopSignals } from '../../../node/stop-signals.ts';

it('the first signal stops the node, one soon after it is the same order, a later one ends it', () => {
  let nowMs = 5;
  const signals = new StopSignals(() => nowMs);
  expect(signals.next()).toBe('stop');
  expect(signals.next()).toBe('nothing');
  nowMs += SAME_ORDER_MS - 1;
  expect(signals.next()).toBe('nothing');
  nowMs += 1;
  expect(signals.next()).toBe('end');
});
