import { expect, it } from 'vitest';
import { Simulation } from './simulation.ts';

const SEEDS = 40;
/** For machines that do other things besides. */
const TIMEOUT_MS = 400_000;

it('members whose disks fail to sync end and are left, and nothing is lost with the power', {
  timeout: TIMEOUT_MS,
}, async () => {
  const totals: Record<string, number> = {};
  const violations: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, counts } = await new Simulation({
      seed,
      durability: 'durable',
      failingDisks: true,
    }).run();
    if (violation !== undefined) violations.push(`seed ${seed}: ${violation}`);
    for (const [name, value] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + value;
  }
  expect(violations).toEqual([]);
  for (const name of ['sim.failed-syncs', 'sim.power']) {
    expect(totals[name] ?? 0, name).toBeGreaterThan(SEEDS / 4);
  }
});
