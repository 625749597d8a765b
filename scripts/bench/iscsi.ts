import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CELLS, type Cell, QUICK_CELLS } from './iscsi/cells.ts';
import { type Measurement, measureLatency, measureLoad, warmUp } from './iscsi/load.ts';
import {
  type CellResult,
  formatResult,
  newSeries,
  type Series,
  summarize,
  TABLE_HEAD,
} from './iscsi/report.ts';
import {
  killServers,
  type RunningServer,
  SERVER_KINDS,
  type ServerKind,
  startServer,
} from './iscsi/servers.ts';

const HELP = `usage: npm run bench:iscsi -- [OPTION ...]

Compares the iSCSI target with Debian's tgt (package tgt, back ends rdwr and aio): "serve-lun" and tgtd serve
the same files to the same clients, in turn within each round. Prints medians over the rounds, and the ratio to
the back end of tgt that was faster in that workload, with the least and the greatest of any round.

  --rounds N        rounds of every workload; default 5
  --seconds N       length of one measurement; default 2
  --only PATTERN    workloads whose name matches this regular expression
  --quick           those that matter most, 2 rounds of 1 second
  --list            the names of all workloads, as OPERATION-SIZE-PATTERN-dDEPTH-cCLIENTS-lLUNS
  --size MIB        size of each file where there is one; divided where there are several; default 1024
  --directory DIR   where the files go; default /dev/shm, so that no disk is measured
  --json            print JSON documents, one a line
  --help            this text

Reads are made by iscsi-perf (package libiscsi-bin), writes by "qemu-img bench -t none" (qemu-utils with
qemu-block-extra), one process a client. Random writes go all over the disk in steps of its golden section, since qemu-img has
no others. Of each small write qemu-img makes two system calls and two segments, which cost it more than some servers spend on it:
workloads named "bursts" are written by a client of ours that sends many with one call (bench/iscsi/burst-main.ts). The
foreign ones print no percentiles: p50 and p99 are those of a client of ours
(bench/iscsi/probe-main.ts, the simulator's initiator) that has one LUN of the same server to itself, with the same size,
pattern and depth, for half as long. It is slower than they are, on all servers alike.

The server is pinned to core 0 and the clients to core 1, but for the workloads named "all-cores", for which ours has
a worker for each core. CPU is the server's own, of all its threads (/proc/PID/stat), for each operation done.
Ours keeps writes in a log of a single copy, acknowledged from the page cache, in the files' directory; it is
started anew for each round of writes, so that the log does not outgrow the machine. Whenever a server was started,
it first does as much of the same work as is measured then; of writes three times as much, all over the same part of the
disk, so that the log has come to the length that it keeps. tgt's caching is as it
comes: write-back for rdwr, O_DIRECT for aio.
`;

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly cells: readonly Cell[];
  readonly sizeMib: number;
  readonly directory: string;
  readonly json: boolean;
}

const EXIT_INTERRUPTED = 130;
const BASE_PORT = 13_260;
/** Between the ports of two servers: room for one port a worker. */
const PORT_STEP = 100;
/** After the first the disk has been written, after the second it has been written over. */
const WRITE_WARM_UPS = 3;
const SERVER_CORE = 0;
const CLIENT_CORE = 1;
const MIB = 1024 * 1024;

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      size: { type: 'string', default: '1024' },
      directory: { type: 'string', default: existsSync('/dev/shm') ? '/dev/shm' : tmpdir() },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return undefined;
  }
  const pattern = new RegExp(values.only);
  const cells = CELLS.filter(
    ({ name }) => pattern.test(name) && (!values.quick || values.only !== '' || QUICK_CELLS.includes(name)),
  );
  if (values.list) {
    process.stdout.write(cells.map(({ name }) => `${name}\n`).join(''));
    return undefined;
  }
  if (cells.length === 0) throw new Error(`no workload matches "${values.only}"; see --list`);
  return {
    rounds: positive('rounds', values.rounds ?? (values.quick ? '2' : '5')),
    seconds: positive('seconds', values.seconds ?? (values.quick ? '1' : '2')),
    cells,
    sizeMib: positive('size', values.size),
    directory: values.directory,
    json: values.json,
  };
}

function positive(name: string, text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new Error(`--${name} is "${text}"; accepted is a whole number from 1 on`);
}

function checkTools(): void {
  for (const tool of ['tgtd', 'tgtadm', 'iscsi-perf', 'qemu-img', 'taskset']) {
    const { status } = spawnSync('sh', ['-c', `command -v ${tool}`]);
    if (status !== 0)
      throw new Error(
        `${tool} is missing: apt-get install tgt libiscsi-bin qemu-utils qemu-block-extra util-linux`,
      );
  }
}

/** Files of noise, so that nothing on the way can leave it out. */
function makeFiles(directory: string, count: number, sizeMib: number): string[] {
  const noise = Buffer.alloc(MIB);
  return Array.from({ length: count }, (_, i) => {
    const path = join(directory, `disk-${count}-${i}.raw`);
    const file = openSync(path, 'w');
    for (let at = 0; at < fileMib(sizeMib, count); at++) writeSync(file, randomFillSync(noise));
    closeSync(file);
    return path;
  });
}

/** Size of each of so many files, in MiB. */
function fileMib(sizeMib: number, count: number): number {
  return Math.max(1, Math.ceil(sizeMib / count));
}

async function measureCell(cell: Cell, options: Options, directory: string): Promise<CellResult> {
  const files = makeFiles(directory, cell.luns, options.sizeMib);
  const series = new Map<ServerKind, Series>(SERVER_KINDS.map((kind) => [kind, newSeries()]));
  const servers = new Map<ServerKind, RunningServer>();
  const start = async (kind: ServerKind): Promise<RunningServer> => {
    const server = await startServer(kind, {
      files,
      directory,
      port: BASE_PORT + SERVER_KINDS.indexOf(kind) * PORT_STEP,
      core: cell.allCores ? undefined : SERVER_CORE,
      workers: cell.allCores ? availableParallelism() : 1,
      cacheMib: options.sizeMib + 64,
    });
    servers.set(kind, server);
    await warmUp(server);
    // A program that has just been started is not yet what serves for days.
    const warmUps = cell.operation === 'write' ? WRITE_WARM_UPS : 1;
    for (let i = 0; i < warmUps; i++) await load(server, cell, options);
    return server;
  };
  try {
    for (let round = 0; round < options.rounds; round++) {
      for (const kind of SERVER_KINDS) {
        const server = servers.get(kind) ?? (await start(kind));
        await measure(server, cell, options, series.get(kind) as Series);
        if (kind === 'ours' && cell.operation === 'write') {
          servers.delete(kind);
          await server.stop();
        }
      }
    }
  } finally {
    for (const server of servers.values()) await server.stop();
    for (const file of files) rmSync(file);
  }
  return summarize(cell, series);
}

function clientCore(cell: Cell): number | undefined {
  return cell.allCores ? undefined : CLIENT_CORE;
}

function load(server: RunningServer, cell: Cell, options: Options): Promise<Measurement> {
  const lunBytes = fileMib(options.sizeMib, cell.luns) * MIB;
  return measureLoad(server, cell, options.seconds, lunBytes, clientCore(cell));
}

async function measure(server: RunningServer, cell: Cell, options: Options, series: Series): Promise<void> {
  const { operationsPerSecond, cpuSecondsPerOperation } = await load(server, cell, options);
  series.operationsPerSecond.push(operationsPerSecond);
  series.cpuSecondsPerOperation.push(cpuSecondsPerOperation);
  const latency = await measureLatency(server, cell, options.seconds / 2, clientCore(cell));
  series.p50Ms.push(latency.p50Ms);
  series.p99Ms.push(latency.p99Ms);
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) return;
  checkTools();
  const directory = mkdtempSync(join(options.directory, 'bootfabric-bench-'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      killServers();
      rmSync(directory, { recursive: true, force: true });
      process.exit(EXIT_INTERRUPTED);
    });
  }
  const about = {
    processor: cpus()[0]?.model,
    cores: availableParallelism(),
    node: process.version,
    loadAverage: loadavg()[0],
    rounds: options.rounds,
    seconds: options.seconds,
  };
  process.stdout.write(
    options.json ? `${JSON.stringify(about)}\n` : `${JSON.stringify(about)}\n\n${TABLE_HEAD}\n`,
  );
  try {
    for (const cell of options.cells) {
      const result = await measureCell(cell, options, directory);
      process.stdout.write(`${options.json ? JSON.stringify(result) : formatResult(result)}\n`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
