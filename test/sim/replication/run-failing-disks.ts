import { runSeeds } from '../seed-runner.ts';
import { Simulation } from './simulation.ts';

/** Disks that fail to sync, and losses of power. */
await runSeeds((seed) => new Simulation({ seed, durability: 'durable', failingDisks: true }).run());
