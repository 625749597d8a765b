import { parseArgs } from 'node:util';
import { CONSENSUS_LAB_NEEDS, ConsensusLab } from '../test/nodes/support/consensus-lab.ts';
import { missingRequirements } from './lab/requirements.ts';

const HELP = `usage: npm run chaos:consensus -- [--minutes N] [--seed N]

Three real nodes in network namespaces. Clients register, look up and remove machines through all of them while
nodes are killed (SIGKILL), held up (SIGSTOP) and cut off in several ways. Every half minute everything is mended,
the cluster must become whole and take changes again, and the history of what clients asked and were told must be
linearizable. Needs root; see test/nodes/README.md.

  --minutes N  how long, at least one round; default 5
  --seed N     what happens when; default: from the clock, and printed
  --help       this text

Exits with 0 when everything can be explained, 1 otherwise.
`;

const ROUND_MS = 30_000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  const isUsable = minutes > 0 && Number.isSafeInteger(seed) && seed >= 0;
  if (values.help || !isUsable) {
    process.stdout.write(HELP);
    return values.help ? 0 : 2;
  }
  const missing = missingRequirements(CONSENSUS_LAB_NEEDS);
  if (missing.length > 0) {
    process.stderr.write(`needs ${missing.join(', ')}; enable it with: ${CONSENSUS_LAB_NEEDS.enableWith}\n`);
    return 1;
  }
  const untilMs = performance.now() + minutes * 60_000;
  const lab = await ConsensusLab.start();
  let failed = 0;
  try {
    for (let round = 0; round === 0 || performance.now() < untilMs; round++) {
      const { faults, ...figures } = await lab.chaos(seed + round, ROUND_MS);
      console.log(`seed ${seed + round}: ${JSON.stringify(figures)}`);
      for (const fault of faults) console.log(`FAULT ${fault}`);
      failed += faults.length;
    }
  } finally {
    await lab.remove();
  }
  console.log(failed === 0 ? 'everything can be explained' : `${failed} faults`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();
