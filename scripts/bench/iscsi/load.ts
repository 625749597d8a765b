import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Cell } from './cells.ts';
import type { ProbeSettings } from './probe-main.ts';
import type { RunningServer } from './servers.ts';

export interface Measurement {
  readonly operationsPerSecond: number;
  readonly cpuSecondsPerOperation: number;
}

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const BLOCK_BYTES = 512;
/** qemu-img bench wants a number of requests and not a time; what one client of this machine's kind does in a second. */
const WRITES_PER_SECOND = { small: 40_000, large: 10_000, depthOne: 8_000 };
const LARGE_BYTES = 32 * 1024;

interface ClientRun {
  readonly operations: number;
  readonly seconds: number;
}

/** Throughput: all clients at once, each a foreign initiator in a process of its own. */
export async function measureLoad(
  server: RunningServer,
  cell: Cell,
  seconds: number,
  core: number | undefined,
): Promise<Measurement> {
  const cpuBefore = server.cpuSeconds();
  const startedMs = performance.now();
  const runs = await Promise.all(
    Array.from({ length: cell.clients }, (_, i) => {
      const url = server.urls[i % server.urls.length] as string;
      return cell.operation === 'read'
        ? readWithIscsiPerf(url, cell, seconds, core)
        : writeWithQemuImg(url, cell, seconds, core);
    }),
  );
  const elapsedSeconds = (performance.now() - startedMs) / 1000;
  const cpuSeconds = server.cpuSeconds() - cpuBefore;
  const operations = runs.reduce((sum, run) => sum + run.operations, 0);
  // With several clients that begin and end at slightly different times their rates are what adds up.
  const rate = runs.reduce((sum, run) => sum + run.operations / (run.seconds || elapsedSeconds), 0);
  return { operationsPerSecond: rate, cpuSecondsPerOperation: cpuSeconds / operations };
}

async function readWithIscsiPerf(
  url: string,
  cell: Cell,
  seconds: number,
  core: number | undefined,
): Promise<ClientRun> {
  const random = cell.pattern === 'random' ? ['-r'] : [];
  const blocks = String(cell.sizeBytes / BLOCK_BYTES);
  const output = await run(core, [
    'iscsi-perf',
    ...['-m', String(cell.depth), '-b', blocks, ...random, '-t', String(seconds), url],
  ]);
  const averages = [...output.matchAll(/iops average (\d+)/g)];
  const rate = Number(averages.at(-1)?.[1]);
  if (!(rate > 0)) throw new Error(`iscsi-perf told no rate: ${output.slice(-500)}`);
  return { operations: rate * seconds, seconds };
}

async function writeWithQemuImg(
  url: string,
  cell: Cell,
  seconds: number,
  core: number | undefined,
): Promise<ClientRun> {
  const { small, large, depthOne } = WRITES_PER_SECOND;
  const perSecond = cell.depth === 1 ? depthOne : cell.sizeBytes >= LARGE_BYTES ? large : small;
  const operations = Math.ceil((perSecond * seconds) / cell.clients);
  const output = await run(core, [
    ...['qemu-img', 'bench', '-f', 'raw', '-t', 'none', '-w', '-c', String(operations)],
    ...['-d', String(cell.depth), '-s', String(cell.sizeBytes), url],
  ]);
  const completed = Number(/completed in ([\d.]+) seconds/.exec(output)?.[1]);
  if (!(completed > 0)) throw new Error(`qemu-img told no time: ${output.slice(-500)}`);
  return { operations, seconds: completed };
}

/** Latency, by an initiator of our own (probe-main.ts), since the foreign ones print no percentiles. */
export async function measureLatency(
  server: RunningServer,
  cell: Cell,
  seconds: number,
  core: number | undefined,
): Promise<Latency> {
  const { operation, sizeBytes, pattern, depth } = cell;
  const url = server.urls[0] as string;
  return JSON.parse(await runProbe({ url, operation, sizeBytes, pattern, depth, seconds }, core)) as Latency;
}

/** Reads all of every LUN once, so that each server has it in memory, and has had some work. */
export async function warmUp(server: RunningServer): Promise<void> {
  for (const url of server.urls) await runProbe({ url, ...WHOLE_LUN }, undefined);
}

const WHOLE_LUN = { operation: 'read', sizeBytes: 131_072, pattern: 'once', depth: 16, seconds: 60 } as const;

function runProbe(settings: ProbeSettings, core: number | undefined): Promise<string> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const probe = fileURLToPath(new URL(`./probe-main.${extension}`, import.meta.url));
  return run(core, [process.execPath, probe, JSON.stringify(settings)]);
}

function run(core: number | undefined, command: readonly string[]): Promise<string> {
  const [program = '', ...args] = core === undefined ? command : ['taskset', '-c', String(core), ...command];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command.join(' ')} ended with ${code}: ${output.slice(-500)}`));
    });
  });
}
