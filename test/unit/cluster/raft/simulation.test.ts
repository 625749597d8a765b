import { describe, expect, it } from 'vitest';
import { type Fault, Simulation, type SimulationReport } from './simulation.ts';

const SEEDS = 200;
const STEPS = 2000;
const FAULTY_STEPS = 800;
const CHECK_LOGS_EVERY = 100;
const HEAL_ROUNDS = 120;

function run(seed: number, fault: Fault, steps = STEPS): { report: SimulationReport; recovered: boolean } {
  const simulation = new Simulation(seed, fault);
  for (let step = 0; step < steps; step++) {
    simulation.disturb();
    if (step % CHECK_LOGS_EVERY === 0) simulation.checkLogs();
  }
  const recovered = simulation.heal(HEAL_ROUNDS);
  simulation.checkLogs();
  return { report: simulation.report, recovered };
}

describe('a simulated cluster', () => {
  it(`keeps Raft's promises and recovers, over ${SEEDS} seeds`, { timeout: 120_000 }, () => {
    const total = { elections: 0, committed: 0, crashes: 0, reads: 0, snapshots: 0, confChanges: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        const { report, recovered } = run(seed, 'none');
        expect(recovered, 'it recovers').toBe(true);
        for (const key of Object.keys(total) as (keyof SimulationReport)[]) total[key] += report[key];
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      }
    }
    // That the weather was rough enough to mean something.
    for (const [what, count] of Object.entries(total)) expect(count, what).toBeGreaterThan(SEEDS / 2);
  });

  it('does the same thing from the same seed', () => {
    expect(run(7, 'none')).toEqual(run(7, 'none'));
  });

  it.each([
    ['forgotten vote', 'election safety'],
    // The core itself refuses to go on when its log lacks what it had acknowledged.
    ['forgotten entries', 'but the log ends at'],
  ] as const)('notices a %s', { timeout: 60_000 }, (fault, violation) => {
    const caught = () => {
      for (let seed = 1; seed <= SEEDS; seed++) run(seed, fault, FAULTY_STEPS);
    };
    expect(caught).toThrow(violation);
  });
});
