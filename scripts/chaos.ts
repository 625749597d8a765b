import { parseArgs } from 'node:util';
import { describeError } from '../base/errors.ts';
import { MAX_DATA_PLANE_WORKERS } from '../cluster/state/limits.ts';
import { FAULTS, type Fault } from './chaos/faults.ts';
import { formatReport, isGood } from './chaos/report.ts';
import { runChaos } from './chaos/run.ts';
import { missingRequirements } from './lab/requirements.ts';

const HELP = `usage: npm run chaos -- [OPTION ...]

Starts node processes in network namespaces of their own, each with a disk of its own in memory, and initiators that
write and unmap stamped blocks at depth and read them back. Every few seconds something is done to a node. At the end, and all
the while, what is read is held against what was acknowledged.

  --minutes N      how long faults go on (default 2; fractions are allowed)
  --seed N         which faults at which nodes (default: drawn, and printed)
  --nodes N        3 or 5 (default 3)
  --clients N      initiators (1 to 64, default 6)
  --rate N         writes and reads a second of each (1 to 10000, default 200)
  --workers N      data-plane workers of each node (1 to 32, default 1)
  --disk-mib N     size of each node's disk (default 2560; with less, the groups' logs alone may fill it)
  --only LIST      these kinds of faults: ${FAULTS.map((fault) => fault.kind).join(', ')}
  --evidence DIR   where the nodes' logs go, and their data when something is lost or hangs
  --json           print the result as JSON
  --help           this text

Needs root, iproute2 and strace. Prints a table by kind of fault with the pause it caused (the longest time any
command waited for its answer). Ends with 0 when nothing that was acknowledged was lost or wrong and nothing hung, else
with 1; the first loss ends the run.`;

const NEEDS = {
  root: true,
  commands: ['ip', 'mount', 'umount', 'sysctl', 'strace'],
  enableWith: 'as root: apt-get install iproute2 procps strace',
};

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '2' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      nodes: { type: 'string', default: '3' },
      clients: { type: 'string', default: '6' },
      rate: { type: 'string', default: '200' },
      workers: { type: 'string' },
      'disk-mib': { type: 'string', default: '2560' },
      only: { type: 'string' },
      evidence: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const missing = missingRequirements(NEEDS);
  if (missing.length > 0) throw new Error(`this host lacks ${missing.join(', ')}; ${NEEDS.enableWith}`);
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const seed = numberWithin('--seed', values.seed, 0, 2 ** 32 - 1);
  say(`seed ${seed}`);
  const result = await runChaos({
    runMs: numberWithin('--minutes', values.minutes, 0.1, 24 * 60) * 60_000,
    seed,
    nodes: oneOf('--nodes', values.nodes, [3, 5]),
    clients: numberWithin('--clients', values.clients, 1, 64),
    stepsPerSecond: numberWithin('--rate', values.rate, 1, 10_000),
    diskMib: numberWithin('--disk-mib', values['disk-mib'], 128, 65_536),
    faults: chosenFaults(values.only),
    ...(values.workers === undefined
      ? {}
      : { workers: numberWithin('--workers', values.workers, 1, MAX_DATA_PLANE_WORKERS) }),
    ...(values.evidence === undefined ? {} : { evidence: values.evidence }),
    say,
  });
  if (result.lastWords !== '') say(result.lastWords);
  console.log(values.json ? JSON.stringify(result) : formatReport(result));
  return isGood(result) ? 0 : 1;
}

function chosenFaults(only: string | undefined): readonly Fault[] {
  if (only === undefined) return FAULTS;
  return only.split(',').map((kind) => {
    const fault = FAULTS.find((candidate) => candidate.kind === kind.trim());
    if (fault !== undefined) return fault;
    throw new Error(`--only ${kind}: accepted are ${FAULTS.map((one) => one.kind).join(', ')}`);
  });
}

function oneOf(option: string, text: string, accepted: readonly number[]): number {
  if (accepted.includes(Number(text))) return Number(text);
  throw new Error(`${option} ${text}: ${accepted.join(' or ')} is accepted`);
}

function numberWithin(option: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (Number.isFinite(number) && number >= least && number <= most) return number;
  throw new Error(`${option} ${text}: a number from ${least} to ${most} is accepted`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`chaos: ${describeError(error)}`);
  process.exitCode = 1;
}
