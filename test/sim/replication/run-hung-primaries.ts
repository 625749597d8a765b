import { runSeeds } from '../seed-runner.ts';
import { runHungPrimary } from './hung-primary.ts';

/** Primaries whose disks take nothing. */
await runSeeds(runHungPrimary);
