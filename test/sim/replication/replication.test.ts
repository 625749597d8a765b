import { describe, expect, it } from 'vitest';
import type { DeliberateFaults } from '../../../storage/replication/index.ts';
import { Simulation } from './simulation.ts';
import type { SimulationOptions } from './simulation-options.ts';

const SEEDS = 120;
const DURABLE_SEEDS = 60;
/** For machines that do other things besides. */
const TIMEOUT_MS = 400_000;

async function runSeeds(count: number, options: Omit<SimulationOptions, 'seed'>) {
  const totals: Record<string, number> = {};
  const violations: string[] = [];
  for (let seed = 1; seed <= count; seed++) {
    const { violation, counts } = await new Simulation({ ...options, seed }).run();
    if (violation !== undefined) violations.push(`seed ${seed}: ${violation}`);
    for (const [name, value] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + value;
  }
  return { totals, violations };
}

describe('replication in the simulator', () => {
  it('loses no acknowledged write, whatever happens', { timeout: TIMEOUT_MS }, async () => {
    const { totals, violations } = await runSeeds(SEEDS, {});
    expect(violations).toEqual([]);
    // The trouble did what it was meant to do.
    for (const name of ['expands', 'fences', 'failovers', 'sim.kill', 'sim.resets']) {
      expect(totals[name] ?? 0, name).toBeGreaterThan(SEEDS);
    }
    expect(totals['sim.acknowledged-writes']).toBeGreaterThan(50 * SEEDS);
    expect(totals['sim.reads']).toBeGreaterThan(50 * SEEDS);
    expect(totals['sim.acknowledged-discards']).toBeGreaterThan(SEEDS);
    for (const name of ['sim.volleys', 'sim.gone-ahead', 'sim.reads-at-once']) {
      expect(totals[name] ?? 0, name).toBeGreaterThan(SEEDS);
    }
    expect(totals['sim.begun-writes']).toBeGreaterThan(50 * SEEDS);
    const disks = ['sim.unmounted', 'sim.wiped', 'sim.old-disks', 'strangeDisks'];
    const rarer = [
      ...disks,
      'shrinks',
      'moves',
      'drops',
      'lateProposals',
      'sim.ambushes',
      'sim.write-no-space',
    ];
    for (const name of [
      ...['releases', 'failedDrops', 'sim.quick-moves', 'sim.left', 'sim.started-again'],
      ...['sim.flips-in-data', 'sim.flips-anywhere', 'sim.spoilt-records', 'replication.damage-mended'],
      ...rarer,
      'replication.truncated',
      'replication.trimmed',
      'replication.carried-bytes',
      'replication.started-over',
      'replication.checkpoints',
      'replication.elided-bytes',
      'replication.checkpoints-used',
    ]) {
      expect(totals[name] ?? 0, name).toBeGreaterThan(0);
    }
  });

  it('in durable mode loses none to power failures either', { timeout: TIMEOUT_MS }, async () => {
    const { totals, violations } = await runSeeds(DURABLE_SEEDS, { durability: 'durable' });
    expect(violations).toEqual([]);
    expect(totals['sim.power'] ?? 0).toBeGreaterThan(DURABLE_SEEDS / 2);
  });

  it('goes the same way again from the same seed', async () => {
    const once = await new Simulation({ seed: 7 }).run();
    const again = await new Simulation({ seed: 7 }).run();
    expect(again).toEqual(once);
  });
});

/** Each rule, broken on purpose, must be noticed: else the simulation proves nothing about it. */
describe('the simulator notices', () => {
  const faults: {
    readonly name: string;
    readonly faults: DeliberateFaults;
    readonly ignoresDisks?: boolean;
    readonly seeds: number;
  }[] = [
    {
      name: 'an acknowledgement before all in-sync members have the write',
      faults: { acknowledgeBeforeAllHaveIt: true },
      seeds: 60,
    },
    {
      name: 'an acknowledgement before the shrink has been committed',
      faults: { acknowledgeBeforeShrinkCommits: true },
      seeds: 300,
    },
    {
      name: 'an empty disk taken for the one that was in sync',
      faults: {},
      ignoresDisks: true,
      seeds: 300,
    },
    { name: 'a new primary that does not wait out the lease', faults: { skipLeaseWait: true }, seeds: 60 },
    {
      name: 'a primary that ignores a member while its joining is undecided',
      faults: { skipUnionWhileExpanding: true },
      seeds: 300,
    },
  ];
  it.each(faults)('$name', { timeout: TIMEOUT_MS }, async ({ faults, ignoresDisks, seeds }) => {
    let caught: string | undefined;
    for (let seed = 1; seed <= seeds && caught === undefined; seed++) {
      caught = (await new Simulation({ seed, faults, ignoresDisks: ignoresDisks === true }).run()).violation;
    }
    expect(caught).toBeDefined();
  });
});
