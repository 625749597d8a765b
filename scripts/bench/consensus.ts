import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { RandomSource } from '../../base/random.ts';
import { ELECTION_TICKS, HEARTBEAT_TICKS, TICK_MS } from '../../cluster/limits.ts';
import { systemRandom } from '../../node/system.ts';
import { EtcdCluster } from './consensus/etcd-cluster.ts';
import { failoverMs } from './consensus/failover.ts';
import { describeWorkload, KEY_COUNT, keyOf, measure, VALUE_BYTES, type Workload } from './consensus/load.ts';
import { OurCluster } from './consensus/our-cluster.ts';
import { formatFailovers, formatResults, type WorkloadResult } from './consensus/report.ts';
import { type KeyValueConnection, NODE_COUNT, type SystemUnderTest } from './consensus/system-under-test.ts';

const HELP = `usage: npm run bench:consensus -- [OPTION ...]

Compares the cluster log with Debian's etcd (packages etcd-server and etcd-client): three processes each, on
this machine, one after the other within each round, and prints medians over the rounds and the ratios.

  --rounds N       rounds, each with every workload on every system; default 5
  --seconds N      length of one measurement; default 3
  --clients LIST   closed loops with so many clients; default 1,16,64,256
  --rate N         one open loop of so many requests a second, latency from the intended start; default 2000;
                   0 leaves it out
  --operations LIST  of put, get (linearizable); default put,get
  --systems LIST   of ours, etcd, product, other; default ours,etcd,product
  --other DIR      another build (its dist folder), whose node processes are the system "other"
  --endpoints E    all: clients are spread over the three nodes, a single one is at the leader; leader: all of
                   them are; default all
  --connections N  connections of ours to each node used; default 1
  --channels N     gRPC channels (TCP connections) to each etcd process used; default 4
  --failover N     instead: kill the leader N times and print how long nobody could write
  --directory DIR  where the data goes; default a new folder below the system's temporary one
  --cpu-prof DIR   profile our processes' JavaScript into DIR
  --help           this text

How each side is set up:
  ours     Three processes, each with the product's RaftLog, RaftStore, segmented log (fdatasync before any promise)
           and mutual-TLS links; a key-value store on top whose applied state is in "level", in durable batches with
           its position, as the product's configuration is. Clients speak length-prefixed MessagePack over TCP.
           Reads are ReadIndex reads. Raft's timing is the product's default.
  product  The same with ClusterNode: a put is the command that replaces one of 32 boot files' records, a get
           is linearizableState(). What is said to other nodes and kept on disk is the product's own in each.
  etcd     Three processes of etcd as packaged, without TLS (an advantage), pre-vote on, heartbeat and election
           timeout as ours. Clients use @grpc/grpc-js with hand-made messages, so that no general decoder is in
           the way. Reads are linearizable ranges.
All: values of ${VALUE_BYTES} bytes, ${KEY_COUNT} keys at random, every write durable on a majority when answered.
All systems are up for the whole run and are warmed up before the first round; those not being measured are idle. The load comes from this one process.
`;

interface Options {
  readonly rounds: number;
  readonly durationMs: number;
  readonly workloads: readonly Workload[];
  readonly systems: readonly string[];
  readonly endpoints: 'all' | 'leader';
  readonly connections: number;
  readonly channels: number;
  readonly failovers: number;
  readonly directory: string | undefined;
  readonly otherBuild: string | undefined;
  readonly profileDirectory: string | undefined;
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      clients: { type: 'string', default: '1,16,64,256' },
      rate: { type: 'string', default: '2000' },
      operations: { type: 'string', default: 'put,get' },
      systems: { type: 'string', default: 'ours,etcd,product' },
      endpoints: { type: 'string', default: 'all' },
      connections: { type: 'string', default: '1' },
      channels: { type: 'string', default: '4' },
      failover: { type: 'string', default: '0' },
      directory: { type: 'string' },
      other: { type: 'string' },
      'cpu-prof': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const rate = atLeast('--rate', values.rate, 0);
  const clients = values.clients.split(',').map((text) => atLeast('--clients', text, 1));
  const operations = values.operations
    .split(',')
    .map((text) => oneOf('--operations', text, ['put', 'get'] as const));
  return {
    rounds: atLeast('--rounds', values.rounds, 1),
    durationMs: 1000 * atLeast('--seconds', values.seconds, 1),
    workloads: operations.flatMap((operation): Workload[] => [
      ...clients.map((count) => ({ operation, clients: count })),
      ...(rate === 0 ? [] : [{ operation, ratePerSecond: rate }]),
    ]),
    systems: values.systems
      .split(',')
      .map((text) => oneOf('--systems', text, ['ours', 'etcd', 'product', 'other'] as const)),
    endpoints: oneOf('--endpoints', values.endpoints, ['all', 'leader']),
    connections: atLeast('--connections', values.connections, 1),
    channels: atLeast('--channels', values.channels, 1),
    failovers: atLeast('--failover', values.failover, 0),
    directory: values.directory,
    otherBuild: values.other,
    profileDirectory: values['cpu-prof'],
  };
}

function atLeast(option: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`${option} is "${text}"; accepted is a whole number, ${least} or more`);
}

function oneOf<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`${option} is "${text}"; accepted are ${choices.join(', ')}`);
}

class UsageError extends Error {}

function makeSystem(kind: string, directory: string, options: Options): SystemUnderTest {
  const profile = options.profileDirectory;
  const nodeArguments =
    profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profile, '--cpu-prof-interval', '200'];
  const timeouts = { heartbeatMs: HEARTBEAT_TICKS * TICK_MS, electionMs: ELECTION_TICKS * TICK_MS };
  if (kind === 'etcd') return new EtcdCluster(join(directory, 'etcd'), timeouts);
  if (kind === 'other') {
    if (options.otherBuild === undefined) throw new UsageError('the system "other" needs --other DIR');
    const nodeProcess = join(options.otherBuild, 'scripts/bench/consensus/node-process.js');
    return new OurCluster(join(directory, kind), 'key-value', { name: 'other build', nodeProcess });
  }
  const engine = kind === 'product' ? 'product' : 'key-value';
  return new OurCluster(join(directory, kind), engine, { nodeArguments });
}

async function connectAll(system: SystemUnderTest, options: Options): Promise<KeyValueConnection[]> {
  const leader = await system.leader();
  const all = Array.from({ length: NODE_COUNT }, (_, i) => (leader + i) % NODE_COUNT);
  const nodes = options.endpoints === 'leader' ? [leader] : all;
  const each = system.name === 'etcd' ? options.channels : options.connections;
  // Neighbouring clients get different nodes, the first one the leader.
  const places = Array.from({ length: each }, () => nodes).flat();
  return await Promise.all(places.map((node) => system.connect(node)));
}

async function fill(connections: readonly KeyValueConnection[], random: RandomSource): Promise<void> {
  for (let at = 0; at < KEY_COUNT; at += 50) {
    const keys = Array.from({ length: 50 }, (_, i) => keyOf(at + i));
    await Promise.all(
      keys.map(async (key, i) => {
        await connections[i % connections.length]?.put(key, random.bytes(VALUE_BYTES));
      }),
    );
  }
}

/** Long enough for what runs often to have been compiled, as in processes that have been up for a while. */
async function warmUp(system: SystemUnderTest, connections: readonly KeyValueConnection[]): Promise<void> {
  for (const operation of ['put', 'get'] as const) {
    await measure(
      system,
      connections,
      { operation, clients: 64 },
      { durationMs: 4000, random: systemRandom },
    );
  }
}

async function throughput(systems: readonly SystemUnderTest[], options: Options): Promise<void> {
  const results = options.workloads.map((workload) => ({
    workload,
    bySystem: new Map<string, Awaited<ReturnType<typeof measure>>[]>(systems.map((s) => [s.name, []])),
  }));
  const connections = new Map<string, KeyValueConnection[]>();
  for (const system of systems) {
    const opened = await connectAll(system, options);
    connections.set(system.name, opened);
    await fill(opened, systemRandom);
  }
  for (const system of systems) await warmUp(system, connections.get(system.name) ?? []);
  for (let round = 0; round < options.rounds; round++) {
    for (const { workload, bySystem } of results) {
      // Whoever comes first in one round comes last in the next.
      for (const system of round % 2 === 0 ? systems : systems.toReversed()) {
        const measured = await measure(system, connections.get(system.name) ?? [], workload, {
          durationMs: options.durationMs,
          random: systemRandom,
        });
        bySystem.get(system.name)?.push(measured);
        process.stderr.write(
          `round ${round + 1}, ${describeWorkload(workload)}, ${system.name}: ` +
            `${measured.perSecond.toFixed(0)}/s, p50 ${measured.p50Ms.toFixed(2)} ms, p99 ${measured.p99Ms.toFixed(2)} ms\n`,
        );
      }
    }
  }
  for (const opened of connections.values()) for (const connection of opened) connection.close();
  process.stdout.write(`${formatResults(results satisfies WorkloadResult[])}\n`);
}

async function failovers(systems: readonly SystemUnderTest[], options: Options): Promise<void> {
  const bySystem = new Map<string, number[]>(systems.map((s) => [s.name, []]));
  for (let kill = 0; kill < options.failovers; kill++) {
    for (const system of systems) {
      const ms = await failoverMs(system);
      bySystem.get(system.name)?.push(ms);
      process.stderr.write(`kill ${kill + 1}, ${system.name}: ${ms.toFixed(0)} ms\n`);
    }
  }
  process.stdout.write(`${formatFailovers(bySystem)}\n`);
}

function machineLine(): string {
  const model = cpus()[0]?.model ?? 'unknown';
  const load = loadavg()[0]?.toFixed(2);
  return `${availableParallelism()} cores (${model}), Node ${process.versions.node}, load average before ${load}\n`;
}

async function main(): Promise<number> {
  const options = readOptions();
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.profileDirectory !== undefined) mkdirSync(options.profileDirectory, { recursive: true });
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'bootfabric-bench-'));
  process.stdout.write(machineLine());
  const systems = options.systems.map((kind) => makeSystem(kind, directory, options));
  try {
    for (const system of systems) await system.start();
    await (options.failovers > 0 ? failovers(systems, options) : throughput(systems, options));
  } finally {
    for (const system of systems) await system.stop();
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  process.stderr.write(
    isUsage ? `${(error as Error).message}\n\n${HELP}` : `${String((error as Error).stack)}\n`,
  );
  process.exitCode = isUsage ? 2 : 1;
}
