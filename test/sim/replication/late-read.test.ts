import { expect, it } from 'vitest';
import { runLateReads } from './late-read.ts';

const SEEDS = 30;

it('a read that is under way when another member follows is not answered once that one serves', {
  timeout: 300_000,
}, async () => {
  const violations: string[] = [];
  let refused = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, late, refused: more } = await runLateReads(seed);
    if (violation !== undefined) violations.push(`seed ${seed}: ${violation}, ${JSON.stringify(late)}`);
    refused += more;
  }
  expect(violations).toEqual([]);
  expect(refused).toBeGreaterThan(SEEDS / 3);
});
