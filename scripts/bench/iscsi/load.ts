import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BurstSettings } from './burst-main.ts';
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
/**
 * qemu-img bench wants a number of requests and not a time: what this machine's kind does in a second, of small ones in
 * number, of large ones in bytes.
 */
const WRITES_PER_SECOND = { small: 40_000, depthOne: 8_000, bytes: 640 * 1024 * 1024 };
/** From one write to the next where they are to lie all over the disk, as a part of it: the golden section. */
const SCATTER = 0.618_034;

interface ClientRun {
  readonly operations: number;
  readonly seconds: number;
}

/** Throughput: all clients at once, each a foreign initiator in a process of its own. */
export async function measureLoad(
  server: RunningServer,
  cell: Cell,
  seconds: number,
  lunBytes: number,
  core: number | undefined,
): Promise<Measurement> {
  const cpuBefore = server.cpuSeconds();
  const startedMs = performance.now();
  const runs = await Promise.all(
    Array.from({ length: cell.clients }, (_, i) => {
      const url = server.urls[i % server.urls.length] as string;
      if (cell.operation === 'read') return readWithIscsiPerf(url, cell, seconds, core);
      const write = { ...cell, seconds, lunBytes, client: i };
      return cell.inBursts ? writeInBursts(url, write, core) : writeWithQemuImg(url, write, core);
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

interface WriteRun extends Cell {
  readonly seconds: number;
  readonly lunBytes: number;
  /** Which of those that write at the same time: each begins elsewhere. */
  readonly client: number;
}

/** How many, and where. */
function planWrites({ sizeBytes, depth, pattern, seconds, lunBytes, clients, client }: WriteRun) {
  const { small, depthOne, bytes } = WRITES_PER_SECOND;
  const perSecond = Math.min(depth === 1 ? depthOne : small, bytes / sizeBytes);
  const operations = Math.ceil((perSecond * seconds) / clients);
  const slots = Math.floor(lunBytes / sizeBytes);
  const step = pattern === 'random' ? scatteringStep(slots) : 1;
  return { operations, slots, step, firstSlot: Math.floor((slots * client) / clients) };
}

async function writeInBursts(url: string, write: WriteRun, core: number | undefined): Promise<ClientRun> {
  const { sizeBytes, depth } = write;
  const settings: BurstSettings = { url, sizeBytes, depth, ...planWrites(write) };
  return JSON.parse(await runProgram('burst-main', settings, core)) as ClientRun;
}

async function writeWithQemuImg(url: string, write: WriteRun, core: number | undefined): Promise<ClientRun> {
  const { sizeBytes, depth } = write;
  const { operations, step, firstSlot } = planWrites(write);
  const output = await run(core, [
    ...['qemu-img', 'bench', '-f', 'raw', '-t', 'none', '-w', '-c', String(operations)],
    ...['-d', String(depth), '-s', String(sizeBytes)],
    ...['-S', String(step * sizeBytes), '-o', String(firstSlot * sizeBytes), url],
  ]);
  const completed = Number(/completed in ([\d.]+) seconds/.exec(output)?.[1]);
  if (!(completed > 0)) throw new Error(`qemu-img told no time: ${output.slice(-500)}`);
  return { operations, seconds: completed };
}

/** A step that visits every place once before any comes again, none near the one before. */
function scatteringStep(slots: number): number {
  let step = Math.floor(slots * SCATTER);
  while (greatestCommonDivisor(step, slots) !== 1) step++;
  return step;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
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
  return runProgram('probe-main', settings, core);
}

/** A client of ours, in a process of its own. */
function runProgram(name: string, settings: object, core: number | undefined): Promise<string> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const program = fileURLToPath(new URL(`./${name}.${extension}`, import.meta.url));
  return run(core, [process.execPath, program, JSON.stringify(settings)]);
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
