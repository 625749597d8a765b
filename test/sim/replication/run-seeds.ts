import { runSeeds } from '../seed-runner.ts';
import { Simulation } from './simulation.ts';

await runSeeds((seed) => new Simulation({ seed }).run());
