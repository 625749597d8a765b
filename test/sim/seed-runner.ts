import { parseArgs } from 'node:util';

/**
 * Runs seeds (--seed, --count) until one fails, and prints what scripts/simulate.ts prints of its own with --json. Ends the
 * process.
 */
export async function runSeeds(
  run: (seed: number) => Promise<{ readonly violation: string | undefined }>,
): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      count: { type: 'string', default: '1' },
      json: { type: 'boolean' },
    },
  });
  const first = Number(values.seed);
  const failures: { readonly seed: number; readonly violation: string }[] = [];
  let seeds = 0;
  for (let seed = first; seed < first + Number(values.count) && failures.length === 0; seed++) {
    const { violation } = await run(seed);
    seeds++;
    if (violation !== undefined) failures.push({ seed, violation });
  }
  process.stdout.write(`${JSON.stringify({ seeds, failures })}\n`, () => process.exit(0));
}
