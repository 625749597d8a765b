import { setTimeout as sleep } from 'node:timers/promises';
import type { RandomSource } from '../../../base/random.ts';
import { cpuSeconds } from './processes.ts';
import type { KeyValueConnection, SystemUnderTest } from './system-under-test.ts';

export interface Workload {
  readonly operation: 'put' | 'get';
  /** closed: so many clients, each asking again as soon as it has its answer. */
  readonly clients?: number;
  /** open: so many requests a second at fixed times, whether or not earlier ones have been answered. */
  readonly ratePerSecond?: number;
}

export interface Measurement {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly failures: number;
  /** Processor time of the three processes per operation; the client's is not in it. */
  readonly cpuMicrosecondsPerOperation: number;
  readonly logSyncsPerOperation: number;
}

export const VALUE_BYTES = 256;
export const KEY_COUNT = 1000;
const WARM_UP_MS = 300;
/** An open loop whose requests pile up beyond this is not keeping up; the rest counts as failed. */
const MAX_OUTSTANDING = 20_000;

export function keyOf(i: number): string {
  return `k${String(i).padStart(6, '0')}`;
}

export function describeWorkload({ operation, clients, ratePerSecond }: Workload): string {
  return clients === undefined
    ? `${operation}, open loop, ${ratePerSecond}/s`
    : `${operation}, ${clients} client${clients === 1 ? '' : 's'}`;
}

interface Tally {
  readonly latenciesMs: number[];
  failures: number;
  outstanding: number;
}

/** One measurement: a moment to warm up, then `durationMs` that count. */
export async function measure(
  system: SystemUnderTest,
  connections: readonly KeyValueConnection[],
  workload: Workload,
  { durationMs, random }: { readonly durationMs: number; readonly random: RandomSource },
): Promise<Measurement> {
  const value = random.bytes(VALUE_BYTES);
  const operate = (client: number): Promise<unknown> => {
    const connection = connections[client % connections.length] as KeyValueConnection;
    const key = keyOf(Math.floor(Math.random() * KEY_COUNT));
    return workload.operation === 'put' ? connection.put(key, value) : connection.get(key);
  };
  const run = (forMs: number): Promise<Tally> =>
    workload.clients === undefined
      ? openLoop(operate, workload.ratePerSecond ?? 0, forMs)
      : closedLoop(operate, workload.clients, forMs);
  await run(WARM_UP_MS);
  const before = { cpu: cpuSeconds(system.pids), syncs: await system.syncs(), atMs: performance.now() };
  const { latenciesMs, failures } = await run(durationMs);
  const elapsedSeconds = (performance.now() - before.atMs) / 1000;
  const cpu = cpuSeconds(system.pids) - before.cpu;
  const syncs = (await system.syncs()).log - before.syncs.log;
  const sorted = Float64Array.from(latenciesMs).sort();
  const operations = sorted.length;
  return {
    perSecond: operations / elapsedSeconds,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    p999Ms: percentile(sorted, 0.999),
    failures,
    cpuMicrosecondsPerOperation: (cpu * 1e6) / operations,
    logSyncsPerOperation: syncs / operations,
  };
}

async function closedLoop(
  operate: (client: number) => Promise<unknown>,
  clients: number,
  forMs: number,
): Promise<Tally> {
  const tally: Tally = { latenciesMs: [], failures: 0, outstanding: 0 };
  const untilMs = performance.now() + forMs;
  const client = async (number: number): Promise<void> => {
    for (let startedMs = performance.now(); startedMs < untilMs; ) {
      try {
        await operate(number);
        const nowMs = performance.now();
        tally.latenciesMs.push(nowMs - startedMs);
        startedMs = nowMs;
      } catch {
        tally.failures += 1;
        await sleep(1);
        startedMs = performance.now();
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return tally;
}

/** Latency counts from when a request was to be sent, so that a stall is felt by all that fall into it. */
async function openLoop(
  operate: (client: number) => Promise<unknown>,
  ratePerSecond: number,
  forMs: number,
): Promise<Tally> {
  const tally: Tally = { latenciesMs: [], failures: 0, outstanding: 0 };
  const total = Math.floor((ratePerSecond * forMs) / 1000);
  const startMs = performance.now();
  let sent = 0;
  const send = (number: number): void => {
    const intendedMs = startMs + (number * 1000) / ratePerSecond;
    tally.outstanding += 1;
    operate(number).then(
      () => {
        tally.outstanding -= 1;
        tally.latenciesMs.push(performance.now() - intendedMs);
      },
      () => {
        tally.outstanding -= 1;
        tally.failures += 1;
      },
    );
  };
  while (sent < total && tally.outstanding < MAX_OUTSTANDING) {
    const due = Math.min(total, Math.ceil(((performance.now() - startMs) * ratePerSecond) / 1000));
    while (sent < due) send(sent++);
    await sleep(1);
  }
  while (tally.outstanding > 0) await sleep(1);
  tally.failures += total - sent;
  return tally;
}

/** @param sorted in rising order */
export function percentile(sorted: Float64Array | readonly number[], fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}
