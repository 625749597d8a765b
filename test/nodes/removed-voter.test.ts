import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { NodeListDocument } from '../../api/contract/nodes.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import { LocalCluster } from '../../scripts/demo/local-cluster.ts';
import { until } from './support/cluster-fixture.ts';

const STEP_MS = 150_000;
const NETWORK = '127.200.33';

let directory: string;
let cluster: LocalCluster;

const list = async (): Promise<NodeListDocument> =>
  (await cluster.cliJson(['node', 'list'])) as NodeListDocument;

const voters = async (): Promise<string[]> => {
  const { nodes } = await cluster.status('n1');
  return nodes.filter((n) => n.vote === 'voter').map((n) => n.nodeId);
};

/** A majority of those that vote agree on something new. */
async function somethingIsAgreedOn(): Promise<void> {
  const isDone = async (): Promise<boolean> => {
    await cluster.cliJson(['node', 'token']);
    return true;
  };
  await until('a change is agreed on', isDone, 30_000);
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-removed-voter-'));
  const nodeIds = ['n1', 'n2', 'n3'];
  cluster = new LocalCluster({ directory, nodeIds, firstIds: ['n1'], portalCount: 1, network: NETWORK });
  await cluster.init();
  cluster.start('n1');
  await cluster.waitUntilServing(1);
  for (const id of ['n2', 'n3']) {
    const joins = async (): Promise<boolean> => {
      await cluster.join(id);
      return true;
    };
    await until(`${id} joins`, joins, 60_000);
    cluster.start(id);
  }
  await until('all three vote', async () => (await voters()).length === 3, 60_000);
}, STEP_MS);

afterAll(async () => {
  await cluster.stop();
  await rm(directory, { recursive: true, force: true });
}, STEP_MS);

it(
  'a node that was removed votes on, also once it and the others have started again, until it is not needed',
  async () => {
    await cluster.kill('n2');
    await cluster.cliJson(['node', 'drain', 'n3', '--no-wait']);
    const mayGo = async (): Promise<boolean> =>
      (await list()).nodes.find((n) => n.nodeId === 'n3')?.obstacles.length === 0;
    await until('n3 may be removed', mayGo, 60_000);
    await cluster.cliJson(['node', 'remove', 'n3', '--no-wait']);
    // With n2 away a majority of the two that stay is not to be had.
    expect((await list()).removed).toMatchObject([{ nodeId: 'n3', votes: true }]);
    for (const id of ['n1', 'n3']) await cluster.kill(id);
    for (const id of ['n1', 'n3']) cluster.start(id);
    await somethingIsAgreedOn();
    const refused = async (): Promise<boolean> =>
      (await readFile(cluster.logFile('n3'), 'utf8')).includes('cluster.registration-refused');
    await until('n3 is told that it was removed', refused, 30_000);
    await somethingIsAgreedOn();
    expect((await cluster.status('n1')).cluster.removedVoters).toEqual(['n3']);
    expect(cluster.processId('n3')).toBeDefined();
    cluster.start('n2');
    await until('n3 ends', () => Promise.resolve(cluster.exitCode('n3') !== null), 60_000);
    expect(cluster.exitCode('n3')).toBe(EXIT_CODE.removed);
    expect(await voters()).toEqual(['n1', 'n2']);
    await somethingIsAgreedOn();
    await until('nobody votes that was removed', async () => (await list()).removed.every((n) => !n.votes));
  },
  STEP_MS,
);
