import { runSeeds } from '../seed-runner.ts';
import { runLesserCopies } from './lesser-copies.ts';

/** Groups started from a copy that lacks what was acknowledged. */
await runSeeds(runLesserCopies);
