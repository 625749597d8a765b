import { expect, it } from 'vitest';
import { runHungPrimary } from './hung-primary.ts';

const SEEDS = 20;
const TIMEOUT_MS = 300_000;

it('a primary whose disk takes nothing hands over before long, and nothing is lost', {
  timeout: TIMEOUT_MS,
}, async () => {
  const violations: string[] = [];
  let handedOver = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await runHungPrimary(seed);
    const { violation, hung } = result;
    if (violation !== undefined) violations.push(`seed ${seed}: ${violation}, ${JSON.stringify(hung)}`);
    handedOver += result.handedOver;
  }
  expect(violations).toEqual([]);
  expect(handedOver).toBeGreaterThan(SEEDS / 4);
});
