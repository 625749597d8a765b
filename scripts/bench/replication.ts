import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SeededRandom } from '../../base/random.ts';
import { ConnectionLostError } from '../simulator/iscsi-wire.ts';
import { median } from './consensus/report.ts';
import { CELLS, type Cell, type Measured, work } from './replication/cells.ts';
import { BenchCluster, type CatchUp, keepTo, type Pins } from './replication/cluster.ts';

const MIB = 1024 * 1024;
const TIMES_OVER = 6;

const HELP = `usage: npm run bench:replication -- [OPTION ...]

What replication costs: the same work on one disk, by one initiator, of clusters of one, two and three real nodes on
loopback, each of which has a copy, in turn within each round. The ratio is to the cluster of one in the same round; all
share the same cores, so with more copies there are more processes for the same cores, too. Then how fast one of three
nodes comes back that was away while so much was written: with what it had, and over an empty disk, where it lacks all
else that is in use as well. A rate is of what its log grew by.

  --rounds N       default 5
  --seconds N      of each cell in each round; default 1
  --warm-up N      seconds of each cell before the first round, not counted; default 12: a program that has just been
                   started takes some 20 s of work to be compiled, and more copies are more programs
  --copies LIST    default 1,2,3
  --only TEXT      cells whose name contains the text
  --catch-up MIB   written while a node is away; default 1024, 0 for none. Takes three copies.
  --size MIB       of the disk that is measured; default 128. It is written over ${TIMES_OVER} times first, so that every log has
                   come to the length that it keeps and its segments are used again.
  --directory DIR  where the nodes' disks are; default /dev/shm, since all copies of one machine share one disk, and then
                   that is what is measured. What is made there is removed at the end.
  --pin            keep the node that serves to one processor, all others and the initiator to another, as in
                   bench:iscsi, but for the catching up. Else the system moves them about, and one copy has both processors
                   to itself as well. Takes two processors, and taskset.
  --json           print a JSON document
  --help           this text
`;

interface CellResult {
  readonly cell: Cell;
  /** By number of copies, one a round. */
  readonly byCopies: ReadonlyMap<number, readonly Measured[]>;
}

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly copies: readonly number[];
  readonly cells: readonly Cell[];
  readonly catchUpBytes: number;
  readonly diskBytes: number;
}

async function measureCells(clusters: readonly BenchCluster[], options: Options): Promise<CellResult[]> {
  const random = new SeededRandom(1);
  const below = (bound: number): number => random.below(bound);
  const results = options.cells.map((cell) => ({ cell, byCopies: new Map<number, Measured[]>() }));
  for (const cluster of options.warmUpSeconds > 0 ? clusters : []) {
    const cpuSeconds = (): number => cluster.cpuSeconds();
    for (const cell of options.cells) {
      await work(cluster.initiator, cell, { seconds: options.warmUpSeconds, below, cpuSeconds });
    }
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const { cell, byCopies } of results) {
      for (const cluster of clusters) {
        const cpuSeconds = (): number => cluster.cpuSeconds();
        const measured = await work(cluster.initiator, cell, { seconds: options.seconds, below, cpuSeconds });
        byCopies.set(cluster.copies, [...(byCopies.get(cluster.copies) ?? []), measured]);
      }
    }
  }
  return results;
}

interface CatchUps {
  readonly copies: number;
  readonly withWhatItHad: CatchUp;
  readonly emptyDisk: CatchUp;
}

async function measureCatchUp(cluster: BenchCluster, lengthBytes: number): Promise<CatchUps> {
  const withWhatItHad = await cluster.awayAndBack(lengthBytes, false);
  const emptyDisk = await cluster.awayAndBack(lengthBytes, true);
  return { copies: cluster.copies, withWhatItHad, emptyDisk };
}

function tableOf(results: readonly CellResult[]): string {
  const lines = [
    '| work | copies | per second | of one copy | (least, most) | p50 ms | p99 ms | CPU µs |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
  ];
  for (const { cell, byCopies } of results) {
    const base = byCopies.get(1);
    for (const [copies, rounds] of byCopies) {
      const of = (pick: (m: Measured) => number): number => median(rounds.map(pick));
      const ratios = rounds.map((m, i) => m.perSecond / (base?.[i]?.perSecond ?? Number.NaN));
      const hasRatio = base !== undefined && copies > 1;
      const spread = `${Math.min(...ratios).toFixed(2)}, ${Math.max(...ratios).toFixed(2)}`;
      const cells = [
        cell.name,
        copies,
        of((m) => m.perSecond).toFixed(0),
        hasRatio ? `${median(ratios).toFixed(2)}x` : '',
        hasRatio ? spread : '',
        of((m) => m.p50Ms).toFixed(2),
        of((m) => m.p99Ms).toFixed(2),
        of((m) => m.cpuMicroseconds).toFixed(0),
      ];
      lines.push(`| ${cells.join(' | ')} |`);
    }
  }
  return lines.join('\n');
}

function describe(what: string, catchUp: CatchUp): string {
  const { seconds, lengthBytes, megabytesPerSecond, cpuSecondsPerGigabyte, primaryReadRatio } = catchUp;
  const cpu = `${cpuSecondsPerGigabyte.toFixed(1)} s of processor time a GB`;
  const length = `${(lengthBytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(2)} s`;
  const read = `the primary read ${primaryReadRatio.toFixed(2)} times that`;
  return `${what}: ${megabytesPerSecond.toFixed(0)} MB/s (${length}, ${cpu}, ${read})`;
}

type NumberOption = 'rounds' | 'seconds' | 'warm-up' | 'catch-up' | 'size';

function optionsFrom(values: Record<NumberOption | 'copies' | 'only', string>): Options {
  const number = (name: NumberOption, least: number): number => {
    const value = Number(values[name]);
    if (!Number.isFinite(value) || value < least) {
      throw new Error(`--${name} ${values[name]}: a number of at least ${least} is expected`);
    }
    return value;
  };
  const copies = values.copies.split(',').map(Number);
  if (!copies.every((n) => n === 1 || n === 2 || n === 3)) {
    throw new Error(`--copies ${values.copies}: numbers from 1 to 3, separated by commas, are expected`);
  }
  const cells = CELLS.filter(({ name }) => name.includes(values.only));
  return {
    rounds: Math.floor(number('rounds', 1)),
    seconds: number('seconds', 0.1),
    warmUpSeconds: number('warm-up', 0),
    copies,
    cells,
    catchUpBytes: Math.floor(number('catch-up', 0)) * MIB,
    diskBytes: Math.floor(number('size', 1)) * MIB,
  };
}

/** The last processor is for the nodes that serve. */
function pinsOf(processors: number): Pins {
  if (processors < 2) throw new Error('--pin: this machine has one processor, and two are needed');
  return { serving: processors - 1, others: 0 };
}

async function pin(clusters: readonly BenchCluster[], pins: Pins): Promise<void> {
  for (const cluster of clusters) await cluster.pin(pins);
  // And the initiators with it.
  await keepTo(pins.others, process.pid);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '1' },
      'warm-up': { type: 'string', default: '12' },
      copies: { type: 'string', default: '1,2,3' },
      only: { type: 'string', default: '' },
      'catch-up': { type: 'string', default: '1024' },
      size: { type: 'string', default: '128' },
      directory: { type: 'string', default: '/dev/shm' },
      pin: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const options = optionsFrom(values);
  const directory = mkdtempSync(join(values.directory, 'bootfabric-bench-replication-'));
  const clusters = options.copies.map((copies) => new BenchCluster(directory, copies));
  const stop = async (): Promise<void> => {
    await Promise.all(clusters.map((cluster) => cluster.stop()));
    rmSync(directory, { recursive: true, force: true });
  };
  const interrupted = (): void => void stop().then(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    for (const cluster of clusters) await cluster.start(options.diskBytes, TIMES_OVER);
    const processors = availableParallelism();
    if (values.pin) await pin(clusters, pinsOf(processors));
    const results = await measureCells(clusters, options);
    const all = `0-${processors - 1}`;
    // Who comes back is a process of its own, and none of the others has less to do.
    if (values.pin) await pin(clusters, { serving: all, others: all });
    const redundant = clusters.find((cluster) => cluster.copies === 3);
    const catchUp =
      redundant === undefined || options.catchUpBytes === 0
        ? undefined
        : await measureCatchUp(redundant, options.catchUpBytes);
    print(values.json, results, catchUp);
  } catch (error) {
    if (error instanceof ConnectionLostError) {
      for (const cluster of clusters) {
        process.stderr.write(`${cluster.copies} copies:\n${await cluster.whyLost()}\n`);
      }
    }
    throw error;
  } finally {
    await stop();
  }
}

function print(json: boolean, results: readonly CellResult[], catchUp: CatchUps | undefined): void {
  if (json) {
    const cells = results.map(({ cell, byCopies }) => ({ ...cell, byCopies: Object.fromEntries(byCopies) }));
    process.stdout.write(`${JSON.stringify({ cells, catchUp: catchUp ?? null })}\n`);
    return;
  }
  process.stdout.write(`${tableOf(results)}\n`);
  if (catchUp === undefined) return;
  const had = describe('with what it had', catchUp.withWhatItHad);
  const empty = describe('over an empty disk', catchUp.emptyDisk);
  process.stdout.write(`catching up with ${catchUp.copies} copies, ${had}; ${empty}\n`);
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    process.stderr.write(`bench:replication: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
