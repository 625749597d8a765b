import { Simulation } from '../replication/simulation.ts';
import { runSeeds } from '../seed-runner.ts';

/** Units that initiators share. */
await runSeeds((seed) => new Simulation({ seed, units: true }).run());
