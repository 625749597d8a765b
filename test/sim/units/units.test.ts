import { describe, expect, it } from 'vitest';
import { Simulation } from '../replication/simulation.ts';

const SEEDS = 8;
/** For machines that do other things besides. */
const TIMEOUT_MS = 400_000;

describe('units that initiators share, in the simulator', () => {
  it.each(['write-back', 'durable'] as const)(
    'answer as one unit that never fails would, in %s mode',
    { timeout: TIMEOUT_MS },
    async (durability) => {
      const totals: Record<string, number> = {};
      const violations: string[] = [];
      for (let seed = 1; seed <= SEEDS; seed++) {
        const { violation, counts } = await new Simulation({ seed, durability, units: true }).run();
        if (violation !== undefined) violations.push(`seed ${seed}: ${violation}`);
        for (const [name, value] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + value;
      }
      expect(violations).toEqual([]);
      const kinds = ['swap', 'write', 'read', 'register', 'reserve', 'release', 'preempt', 'clear', 'status'];
      for (const name of [...kinds, 'begun-writes', 'differs', 'conflict', 'unknown', 'not-done']) {
        expect(totals[`sim.unit-${name}`] ?? 0, name).toBeGreaterThan(SEEDS);
      }
      const undecided = totals['sim.unit-histories-undecided'] ?? 0;
      expect(totals['sim.unit-histories-linearizable']).toBeGreaterThan(5 * undecided);
    },
  );
});
