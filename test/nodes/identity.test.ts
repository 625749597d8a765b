import { spawn } from 'node:child_process';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../base/random.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { encodeFrame, FrameType } from '../../node/peer/frame-codec.ts';
import { encodeHello } from '../../node/peer/hello-codec.ts';
import { NODE_FILES } from '../../node/setup/node-directory.ts';
import { LocalCluster } from '../../scripts/demo/local-cluster.ts';
import {
  type ClusterFixture,
  clusterForFile,
  FILLED_BLOCKS,
  NODE_IDS,
  PEER_PORT,
  REPLICATION_PORT,
  until,
} from './support/cluster-fixture.ts';
import { sendStreams } from './support/hostile-traffic.ts';
import { SteadyMachine } from './support/steady-machine.ts';

const NETWORK = '127.200.4';
const OTHER_NETWORK = '127.200.5';
const COPY_ADDRESS = `${NETWORK}.77`;
const MAC = '52:54:00:dd:00:01';
const NODE_PROGRAM = resolve('dist/node/main.js');
/** After the first refusal: enough for several more attempts to connect. */
const INTRUSION_MS = 2_000;
const NOTED_WITHIN_MS = 20_000;

const shared = clusterForFile(NETWORK);
let fixture: ClusterFixture;
const intruders: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  fixture = shared();
  await fixture.addClient('pc', MAC);
});

afterEach(async () => {
  for (const intruder of intruders.splice(0)) await intruder.stop();
});

/** Runs the node program until it ends by itself. */
function startOnce(directory: string): Promise<{ code: number | null; output: string }> {
  return new Promise((done, reject) => {
    const child = spawn(process.execPath, [NODE_PROGRAM, 'start', '--data', directory]);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
      });
    }
    const tooLong = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(tooLong);
      done({ code, output });
    });
  });
}

/** A machine works meanwhile; then it has met no error, and every node is the process it was. */
async function unharmed(run: () => Promise<void>): Promise<void> {
  const before = fixture.processIds();
  const machine = new SteadyMachine(await fixture.attach(await fixture.boot(MAC)), FILLED_BLOCKS);
  machine.start();
  await run();
  await machine.stop();
  expect(machine.problem).toBeUndefined();
  expect(machine.rounds).toBeGreaterThan(0);
  expect(fixture.processIds()).toEqual(before);
  const { nodes } = await fixture.status('n1');
  expect(nodes.map((node) => node.status)).toEqual(['up', 'up', 'up']);
}

/** Lines of a node's log that tell of an event with a code. */
async function told(log: Promise<string>, event: string, code: string): Promise<string[]> {
  return (await log)
    .split('\n')
    .filter((line) => line.includes(`"event":"${event}"`) && line.includes(`"code":"${code}"`));
}

/** Waits until n2 and n3 have refused somebody with a code, and then for more attempts. */
async function refusals(code: string): Promise<void> {
  await until('n2 and n3 have refused', async () => {
    const lines = await Promise.all(
      ['n2', 'n3'].map((id) => told(fixture.log(id), 'peer.inbound.refused', code)),
    );
    return lines.every((list) => list.some((line) => line.includes('"component":"cluster-link"')));
  });
  await sleep(INTRUSION_MS);
}

async function edit(file: string, change: (text: string) => string): Promise<void> {
  const before = await readFile(file, 'utf8');
  const after = change(before);
  expect(after).not.toBe(before);
  await writeFile(file, after);
}

describe('a second process', () => {
  it('on the directory of a node that runs is refused with one clear error', async () => {
    await unharmed(async () => {
      const { code, output } = await startOnce(fixture.cluster.nodeDirectory('n1'));
      expect(code).toBe(1);
      expect(output).toMatch(/^error: .*another process runs this node/m);
      expect(output).not.toMatch(/\n\s+at /);
    });
  });

  it('on a copy of a node that is told another address is refused with one clear error', async () => {
    const copy = await copyOfFirst();
    const { code, output } = await startOnce(copy);
    expect(code).toBe(1);
    expect(output).toMatch(
      /^error: .*would be at 127\.200\.4\.77:7400; the cluster has it at 127\.200\.4\.11:7400/m,
    );
  });

  it('on a copy that believes to be at another address is refused by the others, said once', async () => {
    const copy = await copyOfFirst();
    const genesis = join(copy, NODE_FILES.genesis);
    const state = JSON.parse(await readFile(genesis, 'utf8')) as ClusterState;
    const node = state.nodes['n1'];
    const moved = JSON.stringify(node?.endpoints).replaceAll(fixture.cluster.nodeAddress('n1'), COPY_ADDRESS);
    const endpoints = JSON.parse(moved) as unknown;
    await writeFile(
      genesis,
      JSON.stringify({ ...state, nodes: { ...state.nodes, n1: { ...node, endpoints } } }),
    );
    await unharmed(async () => {
      const intruder = startIntruder(copy);
      await refusals('same-node-id');
      for (const id of ['n2', 'n3']) {
        const complaints = await told(fixture.log(id), 'peer.inbound.refused', 'same-node-id');
        const cluster = complaints.filter((line) => line.includes('"component":"cluster-link"'));
        expect(cluster, `complaints of ${id}`).toHaveLength(1);
        expect(cluster[0]).toContain('another process runs as node n1');
      }
      const own = await told(Promise.resolve(intruder.output()), 'peer.link.refused', 'same-node-id');
      expect(own.filter((line) => line.includes('"component":"cluster-link"'))).toHaveLength(2);
    });
  });

  /** With all it has stored, as a restored backup or a cloned virtual machine would be. */
  async function copyOfFirst(): Promise<string> {
    const copy = fixture.path('copy');
    await rm(copy, { recursive: true, force: true });
    await cp(fixture.cluster.nodeDirectory('n1'), copy, { recursive: true });
    await rm(join(copy, 'data/state/LOCK'), { force: true });
    await edit(join(copy, NODE_FILES.config), (text) =>
      text.replaceAll(fixture.cluster.nodeAddress('n1'), COPY_ADDRESS),
    );
    return copy;
  }

  function startIntruder(directory: string): { output(): string } {
    const child = spawn(process.execPath, [NODE_PROGRAM, 'start', '--data', directory], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    child.stderr.on('data', (data: Buffer) => {
      output += data.toString();
    });
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    intruders.push({
      stop: async () => {
        child.kill('SIGKILL');
        await ended;
      },
    });
    return { output: () => output };
  }
});

describe('a node of another cluster', () => {
  it('that dials this one is refused, said once on both sides', async () => {
    const directory = fixture.path('other');
    const other = new LocalCluster({ directory, nodeIds: NODE_IDS, portalCount: 3, network: OTHER_NETWORK });
    intruders.push(other);
    await other.init();
    await edit(join(other.nodeDirectory('n1'), NODE_FILES.genesis), (text) =>
      text
        .replaceAll(other.nodeAddress('n2'), fixture.cluster.nodeAddress('n2'))
        .replaceAll(other.nodeAddress('n3'), fixture.cluster.nodeAddress('n3')),
    );
    await unharmed(async () => {
      const before = await Promise.all(['n2', 'n3'].map((id) => fixture.counter(id, 'peer.inbound.refused')));
      other.start('n1');
      await refusals('foreign-certificate');
      for (const [i, id] of ['n2', 'n3'].entries()) {
        const after = await fixture.counter(id, 'peer.inbound.refused');
        expect(after - (before[i] ?? 0)).toBeGreaterThan(1);
        const lines = await told(fixture.log(id), 'peer.inbound.refused', 'foreign-certificate');
        expect(lines.filter((line) => line.includes('"component":"cluster-link"'))).toHaveLength(1);
        expect(lines[0]).toMatch(/another cluster/);
      }
      const own = await told(
        readFile(other.logFile('n1'), 'utf8'),
        'peer.link.refusing',
        'foreign-certificate',
      );
      expect(own.filter((line) => line.includes('"component":"cluster-link","peer":"n2"'))).toHaveLength(1);
    });
  });
});

describe('a node with a true certificate that sends garbage', () => {
  it.each([
    ['cluster', PEER_PORT, 'peer.inbound'],
    ['replication', REPLICATION_PORT, 'replication.peer.inbound'],
  ])(
    'to the %s port harms nobody, and is itself again after a restart',
    async (service, port, counters) => {
      const liar = 'n3';
      const file = (name: string): Promise<string> =>
        readFile(join(fixture.cluster.nodeDirectory(liar), name), 'utf8');
      const tls = {
        ca: await file(NODE_FILES.authority),
        cert: await file(NODE_FILES.certificate),
        key: await file(NODE_FILES.privateKey),
      };
      const random = new SeededRandom(port);
      const said = { service, clusterId: fixture.profile.clusterId, nodeId: liar, incarnation: 'liar' };
      const make = (): Uint8Array[] => [
        encodeFrame(FrameType.hello, encodeHello(said)),
        ...Array.from({ length: 50 }, () => encodeFrame(FrameType.message, random.bytes(random.below(300)))),
        encodeFrame(FrameType.hello, encodeHello(said)),
      ];
      await fixture.cluster.kill(liar);
      const others = ['n1', 'n2'];
      const before = others.map((id) => fixture.cluster.processId(id));
      const malformed = service === 'cluster' ? 'cluster.malformed' : 'replication.*';
      for (const id of others) {
        const was = await fixture.counter(id, malformed);
        // A busy node may come to what it is sent after the sender has gone, and take less of it.
        const sent = async (): Promise<number> => {
          await sendStreams({ host: fixture.cluster.nodeAddress(id), port }, 10, make, tls);
          return await fixture.counter(id, malformed);
        };
        await expect.poll(sent, { timeout: NOTED_WITHIN_MS }).toBeGreaterThan(was + 50);
        expect(await fixture.counter(id, `${counters}.refused`)).toBeGreaterThan(0);
      }
      expect(others.map((id) => fixture.cluster.processId(id))).toEqual(before);
      fixture.cluster.start(liar);
      await fixture.cluster.waitUntilServing(NODE_IDS.length);
    },
    60_000,
  );
});
