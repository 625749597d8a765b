import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClientDocument } from '../../api/contract/clients.ts';
import type { NodeListDocument } from '../../api/contract/nodes.ts';
import { writeDemoImage } from '../../scripts/demo/demo-image.ts';
import { LocalCluster } from '../../scripts/demo/local-cluster.ts';
import { PersistentInitiator } from '../../scripts/simulator/persistent-initiator.ts';
import { until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.37';
const IDS = ['n1', 'n2', 'n3', 'n4'] as const;
const GROUPS = 4;
const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = 8;
const IMAGE_BLOCKS = 256;
const STEP_MS = 180_000;

/** A machine that writes block after block and reads back what it wrote; any error ends it. */
class Machine {
  readonly #disk: PersistentInitiator;
  readonly #written = new Map<number, string>();
  readonly #running: Promise<void>;
  #going = true;
  #error: unknown;
  rounds = 0;

  constructor(client: ClientDocument) {
    const { portal, targetName, initiatorName } = client;
    const [host = '', port = ''] = portal.split(':');
    this.#disk = new PersistentInitiator(
      { host, port: Number(port), targetName, initiatorName, lun: 0 },
      100,
      {
        everyMs: 1000,
        timeoutMs: 3000,
      },
    );
    this.#running = this.#run().catch((error: unknown) => {
      this.#error = error;
    });
  }

  async #run(): Promise<void> {
    while (this.#going) {
      const block = this.rounds % IMAGE_BLOCKS;
      const text = `round ${this.rounds} `;
      await this.#disk.write(block * SECTORS_PER_BLOCK, Buffer.alloc(BLOCK_BYTES, text));
      this.#written.set(block, text);
      await this.#isThere(block);
      this.rounds++;
      await sleep(20);
    }
  }

  async #isThere(block: number): Promise<void> {
    const text = this.#written.get(block);
    if (text === undefined) return;
    const read = await this.#disk.read(block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK);
    if (Buffer.compare(read, Buffer.alloc(BLOCK_BYTES, text)) !== 0)
      throw new Error(`block ${block} is not what was written`);
  }

  get error(): unknown {
    return this.#error;
  }

  /** Everything that was acknowledged, read back. */
  async check(): Promise<void> {
    this.#going = false;
    await this.#running;
    expect(this.#error).toBeUndefined();
    for (const block of this.#written.keys()) await this.#isThere(block);
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#disk.stop();
    await this.#running;
  }
}

let directory: string;
let cluster: LocalCluster;
const machines: Machine[] = [];

const list = async (): Promise<NodeListDocument> =>
  (await cluster.cliJson(['node', 'list'])) as NodeListDocument;

async function everyoneWrites(): Promise<void> {
  const before = machines.map((m) => m.rounds);
  await until(
    'every machine goes on writing',
    () => {
      for (const machine of machines) if (machine.error !== undefined) throw machine.error as Error;
      return Promise.resolve(machines.every((m, i) => m.rounds > (before[i] as number) + 5));
    },
    30_000,
  );
}

/** Copies on their way at any moment, as one node tells it all the while. */
async function watchMotion(nodeId: string, isOver: () => boolean): Promise<number> {
  let most = 0;
  while (!isOver()) {
    try {
      const { portalGroups } = await cluster.status(nodeId);
      most = Math.max(most, portalGroups.filter((g) => g.replicas.length > 3).length);
    } catch {
      // Asked again.
    }
    await sleep(100);
  }
  return most;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-rebalancing-'));
  cluster = new LocalCluster({
    directory,
    nodeIds: IDS,
    firstIds: IDS.slice(0, 3),
    portalCount: GROUPS,
    network: NETWORK,
  });
  await cluster.init();
  for (const id of IDS.slice(0, 3)) cluster.start(id);
  await cluster.waitUntilServing(3);
  await cluster.cliJson(['cluster', 'set', '--rebalance-delay', '2']);
  const image = join(directory, 'base.raw');
  await writeDemoImage(image, IMAGE_BLOCKS * BLOCK_BYTES, 16);
  await cluster.cliJson(['image', 'import', 'base', image]);
  for (let i = 1; i <= GROUPS; i++) {
    const add = ['client', 'add', `pc${i}`, '--mac', `52:54:00:37:00:0${i}`, '--image', 'base'];
    const more = ['--write-cache', 'keep', '--portal-group', `pg${i}`];
    machines.push(new Machine((await cluster.cliJson([...add, ...more])) as ClientDocument));
  }
}, STEP_MS);

afterAll(async () => {
  for (const machine of machines) await machine.stop();
  await cluster.stop();
  await rm(directory, { recursive: true, force: true });
}, STEP_MS);

describe('a cluster that is used all the while', () => {
  it(
    'shares copies and primaries with a fourth node, one copy at a time, without an error at any machine',
    async () => {
      await everyoneWrites();
      await cluster.join('n4');
      cluster.start('n4');
      let isOver = false;
      const motion = watchMotion('n1', () => isOver);
      await until(
        'the newcomer has its share',
        async () => {
          const { nodes } = await list();
          const { placement } = await cluster.status('n1');
          const isEven = nodes.every((n) => n.replicas.length === GROUPS - 1 && n.leads.length === 1);
          return isEven && placement.next === null && placement.doing.length === 0;
        },
        120_000,
      ).finally(() => {
        isOver = true;
      });
      expect(await motion).toBe(1);
      await everyoneWrites();
      const { audit } = await list();
      const events = audit.map((a) => a.event);
      expect(events.filter((e) => e === 'copy-added')).toHaveLength(GROUPS - 1);
      expect(events.filter((e) => e === 'copy-dropped')).toHaveLength(GROUPS - 1);
      expect(audit.find((a) => a.event === 'copy-added')?.detail).toMatch(
        /^pg\d on n4 instead of n\d: n\d keeps/,
      );
    },
    STEP_MS,
  );

  it(
    'brings the copies of every group into racks of their own, one copy at a time',
    async () => {
      const racks = { n1: 'east', n2: 'east', n3: 'west', n4: 'north' } as const;
      let isOver = false;
      const motion = watchMotion('n3', () => isOver);
      for (const [id, rack] of Object.entries(racks))
        await cluster.cliJson(['node', 'set', id, '--rack', rack]);
      await until(
        'no two copies of a group share a rack',
        async () => {
          const { portalGroups, placement } = await cluster.status('n1');
          const isApart = portalGroups.every(({ replicas, inSync }) => {
            const used = new Set(replicas.map((id) => racks[id as keyof typeof racks]));
            return replicas.length === 3 && used.size === 3 && inSync.length === 3;
          });
          return isApart && placement.next === null && placement.doing.length === 0;
        },
        120_000,
      ).finally(() => {
        isOver = true;
      });
      expect(await motion).toBe(1);
      const { nodes } = await list();
      expect(nodes.map((n) => n.replicas.length)).toEqual([2, 2, GROUPS, GROUPS]);
      await everyoneWrites();
    },
    STEP_MS,
  );

  it(
    'gives the groups of a node that is removed to the others, and every write is there',
    async () => {
      await cluster.cliJson(['node', 'remove', 'n2']);
      await until(
        'the others have everything',
        async () => {
          const { portalGroups } = await cluster.status('n1');
          return portalGroups.every((g) => g.inSync.length === 3 && !g.replicas.includes('n2'));
        },
        60_000,
      );
      await everyoneWrites();
    },
    STEP_MS,
  );

  it(
    'leaves everything where it is once told to',
    async () => {
      await cluster.cliJson(['cluster', 'set', '--rebalance', 'off']);
      // By as much that every group led by another node is worth moving.
      await cluster.cliJson(['node', 'set', 'n1', '--weight', '20']);
      const before = (await list()).audit.length;
      await sleep(6_000);
      expect((await list()).audit.length).toBe(before);
      const { placement } = await cluster.status('n1');
      expect(placement).toMatchObject({ rebalance: 'off', doing: [] });
      await cluster.cliJson(['cluster', 'set', '--rebalance', 'on']);
      await until(
        'the heavier node leads more',
        async () => (await list()).nodes.find((n) => n.nodeId === 'n1')?.leads.length === GROUPS,
        60_000,
      );
      await everyoneWrites();
      for (const machine of machines) await machine.check();
    },
    STEP_MS,
  );
});
