import { runSeeds } from '../seed-runner.ts';
import { runSlowMember } from './slow-member.ts';

/** Members that are slow. */
await runSeeds(runSlowMember);
