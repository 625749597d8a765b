import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { describeError } from '../base/errors.ts';
import { runLocalDemo } from './demo/local-demo.ts';
import { runMachineDemo } from './demo/machine-demo.ts';

const HELP = `usage: npm run demo [-- OPTION ...]

Starts three nodes on loopback as separate processes, boots clients from them, kills the node that serves them
in the middle of their writes, and shows that nothing acknowledged is lost. Needs no privileges.

  --clients N    how many machines boot (1 to 64, default 6)
  --seconds N    how long they write, the kill being in the middle (4 to 3600, default 8)
  --keep         leave the cluster up afterwards, until interrupted, and say where it is
  --vm           boot a real machine in QEMU instead; needs root and QEMU, and says what is missing
  --help         this text

Ends with 0 when every acknowledged block was there and every reboot was pristine, else with 1.`;

const MAX_CLIENTS = 64;
const MIN_SECONDS = 4;
const MAX_SECONDS = 3600;

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clients: { type: 'string', default: '6' },
      seconds: { type: 'string', default: '8' },
      keep: { type: 'boolean', default: false },
      vm: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const clients = numberWithin('--clients', values.clients, 1, MAX_CLIENTS);
  const seconds = numberWithin('--seconds', values.seconds, MIN_SECONDS, MAX_SECONDS);
  if (values.vm) return await runMachineDemo({ keep: values.keep });
  const directory = await mkdtemp(join(tmpdir(), 'bootfabric-demo-'));
  try {
    console.log(`bootfabric demo: 3 nodes, ${clients} clients, ${availableParallelism()} processors\n`);
    return await runLocalDemo({ directory, clients, seconds, keep: values.keep });
  } finally {
    // A node that was just ended may still be writing its last line.
    await sleep(100);
    await rm(directory, { recursive: true, force: true });
  }
}

function numberWithin(option: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw new Error(`${option} ${text}: a whole number from ${least} to ${most} is accepted`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`demo: ${describeError(error)}`);
  process.exitCode = 1;
}
