import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClientDocument } from '../../api/contract/clients.ts';
import type { NodeListDocument } from '../../api/contract/nodes.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import { writeDemoImage } from '../../scripts/demo/demo-image.ts';
import { LocalCluster, PORTS_OPTION } from '../../scripts/demo/local-cluster.ts';
import { PersistentInitiator } from '../../scripts/simulator/persistent-initiator.ts';
import { until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.31';
const IDS = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'] as const;
const IMAGE_BLOCKS = 256;
const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = 8;
const STEP_MS = 90_000;

let directory: string;
let cluster: LocalCluster;
let client: ClientDocument;
let machine: WritingMachine;

/** A machine that writes block after block to its disk and knows what must be there. */
class WritingMachine {
  readonly #disk: PersistentInitiator;
  readonly #written = new Map<number, string>();
  #going = true;
  #running: Promise<void> | undefined;
  rounds = 0;

  constructor(disk: PersistentInitiator) {
    this.#disk = disk;
  }

  start(): void {
    this.#going = true;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    while (this.#going) {
      const block = this.rounds % IMAGE_BLOCKS;
      const text = `round ${this.rounds} `;
      await this.#disk.write(block * SECTORS_PER_BLOCK, Buffer.alloc(BLOCK_BYTES, text));
      this.#written.set(block, text);
      this.rounds++;
      await sleep(5);
    }
  }

  /** Ends with everything that was acknowledged read back. */
  async check(): Promise<void> {
    this.#going = false;
    await this.#running;
    for (const [block, text] of this.#written) {
      const read = await this.#disk.read(block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK);
      expect(Buffer.compare(read, Buffer.alloc(BLOCK_BYTES, text)), `block ${block}`).toBe(0);
    }
  }

  /** Sessions whose end their target announced. */
  get announcedDrops(): number {
    return this.#disk.announcedDrops;
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#disk.stop();
    await this.#running?.catch(() => {});
  }
}

const nodes = async (): Promise<NodeListDocument> =>
  (await cluster.cliJson(['node', 'list'])) as NodeListDocument;

async function comesIn(...ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    await cluster.join(id);
    cluster.start(id);
  }
}

/** Who votes in the cluster log, as a node sees it. */
async function votersSeenBy(nodeId: string): Promise<string[]> {
  const status = await cluster.status(nodeId);
  return status.nodes.filter((n) => n.vote === 'voter').map((n) => n.nodeId);
}

async function writesGoOn(): Promise<void> {
  const before = machine.rounds;
  await until('writes go on', () => Promise.resolve(machine.rounds > before + 20), 30_000);
}

async function endsRemoved(nodeId: string): Promise<void> {
  await until(`${nodeId} ends`, () => Promise.resolve(cluster.exitCode(nodeId) !== null), 30_000);
  expect(cluster.exitCode(nodeId)).toBe(EXIT_CODE.removed);
  expect(await readFile(cluster.logFile(nodeId), 'utf8')).toContain('this node was removed from the cluster');
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-membership-'));
  cluster = new LocalCluster({
    directory,
    nodeIds: IDS,
    firstIds: ['n1'],
    portalCount: 2,
    network: NETWORK,
  });
  await cluster.init();
  cluster.start('n1');
  await cluster.waitUntilServing(1);
  await cluster.cliJson(['cluster', 'set', '--rebalance-delay', '1']);
  const image = join(directory, 'base.raw');
  await writeDemoImage(image, IMAGE_BLOCKS * BLOCK_BYTES, 16);
  await cluster.cliJson(['image', 'import', 'base', image]);
  await cluster.cliJson(['boot-file', 'add', image, '--name', 'base.bin']);
  const add = ['client', 'add', 'pc1', '--mac', '52:54:00:31:00:01', '--image', 'base'];
  client = (await cluster.cliJson([...add, '--write-cache', 'keep'])) as ClientDocument;
  const [host = '', port = ''] = client.portal.split(':');
  const { targetName, initiatorName } = client;
  machine = new WritingMachine(
    new PersistentInitiator({ host, port: Number(port), targetName, initiatorName, lun: 0 }, 100, {
      everyMs: 1000,
      timeoutMs: 3000,
    }),
  );
  machine.start();
}, STEP_MS);

afterAll(async () => {
  await machine?.stop();
  await cluster.stop();
  await rm(directory, { recursive: true, force: true });
}, STEP_MS);

describe('a cluster of real nodes, used all the while', () => {
  it(
    'grows from one to three, each group with a copy on every node',
    async () => {
      await writesGoOn();
      await comesIn('n2', 'n3');
      await cluster.waitUntilServing(3);
      await until('all three vote', async () => (await votersSeenBy('n1')).length === 3);
      await writesGoOn();
    },
    STEP_MS,
  );

  it(
    'grows to five, which share the copies',
    async () => {
      await comesIn('n4', 'n5');
      await until(
        'the newcomers hold copies that are in sync',
        async () => {
          const { portalGroups } = await cluster.status('n1');
          const holding = new Set(portalGroups.flatMap((g) => g.inSync));
          const whole = portalGroups.every((g) => g.inSync.length === 3 && g.replicas.length === 3);
          return whole && holding.has('n4') && holding.has('n5');
        },
        60_000,
      );
      await until('all five vote', async () => (await votersSeenBy('n1')).length === 5);
      await writesGoOn();
    },
    STEP_MS,
  );

  it(
    'drains and removes the node that led everything',
    async () => {
      const refused = await cluster.cli(['node', 'remove', 'n1', '--no-wait', '--json']);
      expect(refused.status).toBe(1);
      expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'still-primary' } });
      await cluster.cliJson(['node', 'drain', 'n1']);
      // Its group has left the first node by now, for balance or by the drain; either is done by will.
      await until('the machine was told', () => Promise.resolve(machine.announcedDrops > 0));
      const drained = (await nodes()).nodes.find((n) => n.nodeId === 'n1');
      expect(drained).toMatchObject({ draining: true, leads: [], obstacles: [] });
      await writesGoOn();
      await cluster.cliJson(['node', 'remove', 'n1']);
      await endsRemoved('n1');
      // Started again all the same, it is told at once, and nobody else minds.
      cluster.start('n1');
      await endsRemoved('n1');
      await writesGoOn();
      const list = await nodes();
      expect(list.nodes.map((n) => n.nodeId)).toEqual(['n2', 'n3', 'n4', 'n5']);
      expect(list.audit.map((a) => a.event)).toEqual(
        expect.arrayContaining(['node-added', 'node-draining', 'node-removed']),
      );
    },
    STEP_MS,
  );

  it(
    'replaces a node that is dead',
    async () => {
      const { portalGroups } = await cluster.status('n2');
      const victim = portalGroups[0]?.inSync.find((id) => id !== portalGroups[0]?.primary) ?? 'n2';
      await cluster.kill(victim);
      await comesIn('n6');
      // Whoever is not up yet is not waited for: its copies would go where there is room.
      await until('n6 is up', async () => {
        const { status } = (await nodes()).nodes.find((n) => n.nodeId === 'n6') ?? {};
        return status === 'up';
      });
      await cluster.cliJson(['node', 'replace', victim, '--with', 'n6']);
      const list = await nodes();
      expect(list.nodes.map((n) => n.nodeId)).not.toContain(victim);
      expect(list.nodes.find((n) => n.nodeId === 'n6')?.replicas).toContain('pg1');
      cluster.start(victim);
      await endsRemoved(victim);
      await writesGoOn();
      await machine.check();
    },
    STEP_MS,
  );

  it(
    'is recovered from one node after the others are lost',
    async () => {
      const backup = join(directory, 'backup.json');
      await cluster.cliJson(['backup', backup]);
      const left = (await nodes()).nodes.map((n) => n.nodeId);
      const { portalGroups } = await cluster.status(left[0] as string);
      const group = portalGroups.find((g) => g.id === client.portalGroup);
      const survivor = group?.inSync[0] as string;
      for (const id of left) await cluster.kill(id);
      const recover = ['recover', '--data', cluster.nodeDirectory(survivor)];
      const other = await cluster.offline([...recover, '--cluster', 'another', '--json']);
      expect(JSON.parse(other.stderr)).toMatchObject({ error: { code: 'other-cluster' } });
      const dry = await cluster.offline([...recover, '--cluster', 'demo', '--dry-run']);
      expect(dry.stderr).toContain('NEVER to be started again');
      const done = await cluster.offline([...recover, '--cluster', 'demo', '--accept-stale-data', '--json']);
      expect(done.status, done.stderr).toBe(0);
      const lost = left.filter((id) => id !== survivor);
      expect(JSON.parse(done.stdout)).toMatchObject({ written: true, lostNodes: lost });
      cluster.start(survivor);
      await cluster.waitUntilServing(1);
      await machine.check();
      const list = await nodes();
      expect(list.nodes.map((n) => n.nodeId)).toEqual([survivor]);
      expect(list.audit.at(-1)?.event).toBe('cluster-recovered');
      cluster.start(lost[0] as string);
      await endsRemoved(lost[0] as string);
      await machine.stop();
      await cluster.stop();
      await isRestored(backup);
    },
    STEP_MS,
  );
});

async function isRestored(backup: string): Promise<void> {
  const second = new LocalCluster({
    directory: join(directory, 'second'),
    nodeIds: ['n1'],
    portalCount: 2,
    network: NETWORK,
  });
  const out = join(directory, 'second', 'cluster');
  const where = ['--out', out, '--node', `n1=${second.nodeAddress('n1')}`, '--ports', PORTS_OPTION];
  const text = await readFile(backup, 'utf8');
  const damaged = join(directory, 'damaged.json');
  await writeFile(damaged, text.replace('pc1', 'pc2'));
  const refused = await second.offline(['restore', damaged, ...where, '--json']);
  expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'damaged-backup' } });
  const made = await second.offline(['restore', backup, ...where, '--json']);
  expect(made.status, made.stderr).toBe(0);
  try {
    second.start('n1');
    await second.waitUntilServing(1);
    const list = (await second.cliJson(['client', 'list'])) as { clients: ClientDocument[] };
    expect(list.clients).toEqual([client]);
  } finally {
    await second.stop();
  }
}
