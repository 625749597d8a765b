import { runSeeds } from '../seed-runner.ts';
import { runLateReads } from './late-read.ts';

/** Reads that are under way when another member follows. */
await runSeeds(runLateReads);
