import { runSeeds } from '../seed-runner.ts';
import { LogLives } from './lives.ts';

await runSeeds((seed) => new LogLives(seed).run());
