import { parseArgs } from 'node:util';
import { Simulation as ClusterLogSimulation } from '../test/sim/cluster/simulation.ts';
import type { Simulation as FabricSimulation } from '../test/sim/fabric/simulation.ts';
import type { SimulationResult } from '../test/sim/run.ts';

const HELP = `Usage: npm run simulate -- [--seed N] [--count N] [OPTION ...]

Runs whole clusters in one thread: the cluster's own code over a simulated clock, network and disk, with
crashes, losses of power, partitions, failing disks and changes of members, all from one seed each. Raft's promises and what clients
are answered are checked throughout; then everything is mended, and the cluster must go on.

  --seed N      the first seed (default 1)
  --count N     how many seeds, one after another (default 10)
  --fabric      portal groups as well: several of them, replicated by nodes that agree by the cluster log, with clients
                that write and read; every sector's history is checked, and that one node at most serves a group
  --double-failures
                with --fabric: besides, the in-sync members of a group die together again and again, one with a damaged copy
  --limping     with --fabric: besides, the disks of one node after another are slow for seconds, as if they had failed in part
  --old-copies  with --fabric: besides, directories are replaced by what they were some time ago, and disks are lost for good
  --trouble MS  how long trouble lasts in each, in simulated milliseconds (default 12000; with --fabric 10000)
  --trace       print everything that happens; best with --count 1
  --json        print one line of JSON per seed, and one for all, instead of text
  --keep-going  run the remaining seeds after a failure
  --help        show this text

Exits with 0 when no seed fails, 1 otherwise, with the seed and the command that replays it.
`;

interface Totals {
  seeds: number;
  failures: SimulationResult[];
  simulatedMs: number;
  operations: number;
  events: number;
  readonly counts: Map<string, number>;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      count: { type: 'string', default: '10' },
      fabric: { type: 'boolean', default: false },
      'double-failures': { type: 'boolean', default: false },
      limping: { type: 'boolean', default: false },
      'old-copies': { type: 'boolean', default: false },
      trouble: { type: 'string' },
      trace: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const first = wholeNumber('--seed', values.seed);
  const count = wholeNumber('--count', values.count);
  const troubleMs = values.trouble === undefined ? undefined : wholeNumber('--trouble', values.trouble);
  // Only when asked for: copies made to be damaged have nothing but the cluster log.
  const Simulation = values.fabric
    ? (await import('../test/sim/fabric/simulation.ts')).Simulation
    : ClusterLogSimulation;
  let running: FabricSimulation | ClusterLogSimulation | undefined;
  const uncaught = (error: unknown): void => running?.uncaught(error);
  process.on('uncaughtException', uncaught);
  process.on('unhandledRejection', uncaught);
  const totals: Totals = {
    seeds: 0,
    failures: [],
    simulatedMs: 0,
    operations: 0,
    events: 0,
    counts: new Map(),
  };
  const startedMs = performance.now();
  for (let seed = first; seed < first + count; seed++) {
    running = new Simulation({
      seed,
      ...(troubleMs === undefined ? {} : { troubleMs }),
      ...(values['double-failures'] ? { doubleFailures: true } : {}),
      ...(values.limping ? { limping: true } : {}),
      ...(values['old-copies'] ? { oldCopies: true } : {}),
      ...(values.trace ? { print: (line: string) => process.stdout.write(`${line}\n`) } : {}),
    });
    const result = await running.run();
    addUp(totals, result);
    if (values.json) console.log(JSON.stringify(result));
    if (result.violation === undefined) continue;
    if (!values.json) reportFailure(result, values);
    if (!values['keep-going']) break;
  }
  const seconds = (performance.now() - startedMs) / 1000;
  if (values.json)
    console.log(JSON.stringify({ ...totals, counts: Object.fromEntries(totals.counts), seconds }));
  else report(totals, seconds);
  return totals.failures.length === 0 ? 0 : 1;
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0) {
    process.stderr.write(`${option} is "${text}"; a whole number from 0 on is accepted\n`);
    process.exit(2);
  }
  return value;
}

function addUp(totals: Totals, result: SimulationResult): void {
  totals.seeds++;
  totals.simulatedMs += result.simulatedMs;
  totals.operations += result.operations;
  totals.events += result.events;
  if (result.violation !== undefined) totals.failures.push(result);
  for (const [name, value] of Object.entries(result.counts)) {
    totals.counts.set(name, (totals.counts.get(name) ?? 0) + value);
  }
}

function reportFailure(
  { seed, violation }: SimulationResult,
  given: {
    readonly fabric: boolean;
    readonly 'double-failures': boolean;
    readonly limping: boolean;
    readonly 'old-copies': boolean;
    readonly trouble?: string | undefined;
  },
): void {
  const trouble = given.trouble === undefined ? '' : ` --trouble ${given.trouble}`;
  const double = given['double-failures'] ? ' --double-failures' : '';
  const limping = given.limping ? ' --limping' : '';
  const old = given['old-copies'] ? ' --old-copies' : '';
  const same = `${given.fabric ? ' --fabric' : ''}${double}${limping}${old}${trouble}`;
  console.log(`FAIL  seed ${seed}: ${violation}`);
  console.log(`      replay: npm run simulate -- --seed ${seed} --count 1${same} --trace`);
}

function report(totals: Totals, seconds: number): void {
  const { seeds, failures, simulatedMs, operations, events, counts } = totals;
  const hours = simulatedMs / 3_600_000;
  console.log(`${seeds} seeds, ${failures.length} failed`);
  console.log(
    `${hours.toFixed(2)} simulated hours in ${seconds.toFixed(1)} s: ${Math.round((seeds / seconds) * 3600)} seeds ` +
      `an hour, ${Math.round((hours * 3600) / seconds)} times as fast as the clock`,
  );
  console.log(`${operations} operations in checked histories, ${events} events`);
  for (const [name, value] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    console.log(`  ${name.padEnd(34)} ${value}`);
  }
}

process.exitCode = await main();
