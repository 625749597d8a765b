import { expect, it } from 'vitest';
import { LogLives } from './lives.ts';

const SEEDS = 80;

it('finds what was durable, and nothing of a former life, in segments written over former ones', {
  timeout: 600_000,
}, async () => {
  const totals = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, counters } = await new LogLives(seed).run();
    expect(violation, `seed ${seed}`).toBeUndefined();
    for (const [name, count] of Object.entries(counters.snapshot())) {
      totals.set(name, (totals.get(name) ?? 0) + count);
    }
  }
  // What it is about has happened.
  const created = totals.get('log.segments.created') ?? 0;
  expect(totals.get('log.segments.reused')).toBeGreaterThan(created / 4);
  for (const name of ['log.torn-tails', 'seen.full', 'seen.damage', 'seen.harmless-rot']) {
    expect(totals.get(name), name).toBeGreaterThan(0);
  }
});
