import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ClientListDocument } from '../../api/contract/clients.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import { LocalCluster } from '../../scripts/demo/local-cluster.ts';
import { clusterForFile, until } from './support/cluster-fixture.ts';

const SOLE_NETWORK = '127.200.9';
const STEP_MS = 120_000;
/** Many election timeouts. */
const ELECTIONS_MS = 2_500;

const shared = clusterForFile('127.200.8');
const dataOf = (cluster: LocalCluster, nodeId: string): string => join(cluster.nodeDirectory(nodeId), 'data');

/** Changes a byte of a record that every node has written early, and others after it. */
async function damageLog(cluster: LocalCluster, nodeId: string): Promise<void> {
  const folder = join(dataOf(cluster, nodeId), 'raft');
  for (const name of (await readdir(folder)).sort()) {
    const bytes = await readFile(join(folder, name));
    const at = bytes.indexOf('registerNode');
    if (at === -1) continue;
    bytes.writeUInt8(bytes.readUInt8(at) ^ 0x20, at);
    await writeFile(join(folder, name), bytes);
    return;
  }
  throw new Error(`${folder} has no registration in it`);
}

async function damageState(cluster: LocalCluster, nodeId: string): Promise<void> {
  const folder = join(dataOf(cluster, nodeId), 'state');
  const names = (await readdir(folder)).filter((name) => name.startsWith('MANIFEST-'));
  expect(names).not.toEqual([]);
  for (const name of names) {
    const bytes = await readFile(join(folder, name));
    await writeFile(
      join(folder, name),
      bytes.map((byte) => byte ^ 0xff),
    );
  }
}

async function namesAt(nodeId: string): Promise<string[]> {
  const { status, json } = await shared().api(nodeId, '/api/v1/clients?consistency=local');
  expect(status).toBe(200);
  return (json as ClientListDocument).clients.map((client) => client.name).sort();
}

let added = 0;

async function addClient(): Promise<void> {
  added++;
  await shared().addClient(`c${added}`, `52:54:00:00:dd:0${added}`);
}

const acknowledged = (): string[] => Array.from({ length: added }, (_, i) => `c${i + 1}`);

/** It serves again with all that anybody was told was done. */
async function isWhole(nodeId: string): Promise<void> {
  const { cluster } = shared();
  await cluster.waitUntilServing(3);
  expect((await cluster.status(nodeId)).cluster.refetch).toBeNull();
  await until('it has every client', async () => {
    return JSON.stringify(await namesAt(nodeId)) === JSON.stringify(acknowledged());
  });
}

/** With one of the others away it is one of the two that everything needs. */
async function counts(other: string): Promise<void> {
  const { cluster } = shared();
  await cluster.kill(other);
  await until(
    'the two that are left go on',
    async () => {
      const name = `c${added + 1}`;
      const add = [
        'client',
        'add',
        name,
        '--mac',
        `52:54:00:00:dd:0${added + 1}`,
        '--image',
        'base',
        '--json',
      ];
      const { status, stderr } = await cluster.cli(add);
      return status === 0 || stderr.includes('client-exists');
    },
    30_000,
  );
  added++;
  cluster.start(other);
}

describe('a node whose durable data is damaged', () => {
  it('takes no part with a damaged log before it has everything from the others', {
    timeout: STEP_MS,
  }, async () => {
    const { cluster } = shared();
    for (let i = 0; i < 2; i++) await addClient();
    await cluster.kill('n1');
    await until('the others go on', async () => {
      return (await cluster.status('n2')).cluster.leader !== 'n1';
    });
    await addClient();
    // n2 alone cannot give it what it needs.
    await cluster.kill('n3');
    await damageLog(cluster, 'n1');
    cluster.start('n1');
    await until(
      'it says that it has lost data',
      async () => (await cluster.status('n1')).cluster.refetch !== null,
      30_000,
    );
    expect((await cluster.status('n1')).cluster.refetch?.waitingFor).toContain('n3');
    const { stdout } = await cluster.cli(['status', '--node', 'n1']);
    expect(stdout).toContain('ALARM, n1 has lost data and takes no part');
    expect(await readdir(dataOf(cluster, 'n1'))).toEqual(expect.arrayContaining(['raft', 'raft.damaged-1']));
    // Nor has it a vote to give: a node that lacks what was acknowledged could be elected by it.
    await sleep(ELECTIONS_MS);
    expect((await cluster.status('n2')).cluster.leader).toBeNull();

    cluster.start('n3');
    await isWhole('n1');
    expect((await cluster.cli(['status', '--node', 'n1'])).stdout).not.toContain('lost data');
    await counts('n3');
    await isWhole('n1');
    expect(await readdir(dataOf(cluster, 'n1'))).toContain('raft.damaged-1');
  });

  it('makes a damaged applied state again, from its own log', { timeout: STEP_MS }, async () => {
    const { cluster } = shared();
    await addClient();
    await cluster.kill('n2');
    await damageState(cluster, 'n2');
    cluster.start('n2');
    await isWhole('n2');
    const left = await readdir(dataOf(cluster, 'n2'));
    expect(left).toEqual(expect.arrayContaining(['state', 'state.damaged-1']));
    expect(left).not.toContain('raft.damaged-1');
    expect(await shared().log('n2')).toContain('cluster.applied.set-aside');
    await counts('n1');
    await isWhole('n2');
  });

  it('takes no part over an older copy of its data, or none', { timeout: STEP_MS }, async () => {
    const { cluster } = shared();
    const data = dataOf(cluster, 'n3');
    const refetches = async (): Promise<number> =>
      (await shared().log('n3')).split('cluster.refetch.begins').length - 1;
    await cluster.kill('n3');
    await cp(data, `${data}.backup`, { recursive: true });
    cluster.start('n3');
    await isWhole('n3');
    await addClient();
    await cluster.kill('n3');
    const before = await refetches();
    await rm(data, { recursive: true });
    await rename(`${data}.backup`, data);
    cluster.start('n3');
    await isWhole('n3');
    expect(await refetches()).toBe(before + 1);
    expect(await shared().log('n3')).toContain('an older one, as from a backup or a snapshot');

    await cluster.kill('n3');
    await rm(data, { recursive: true });
    cluster.start('n3');
    await isWhole('n3');
    expect(await refetches()).toBe(before + 2);
    expect(await shared().log('n3')).toContain('is its disk mounted?');
    await counts('n1');
    await isWhole('n3');
  });
});

describe('the only node of a cluster', () => {
  it('is refused with a damaged log, and told what helps', { timeout: STEP_MS }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'bootfabric-damaged-'));
    const sole = new LocalCluster({ directory, nodeIds: ['n1'], portalCount: 1, network: SOLE_NETWORK });
    try {
      await sole.init();
      sole.start('n1');
      await sole.waitUntilServing(1);
      await sole.kill('n1');
      await damageLog(sole, 'n1');
      sole.start('n1');
      await until('it ends', () => Promise.resolve(sole.exitCode('n1') !== null), 30_000);
      expect(sole.exitCode('n1')).toBe(EXIT_CODE.refused);
      await until('it says why', async () =>
        (await readFile(sole.logFile('n1'), 'utf8')).includes('log-damaged'),
      );
      expect(await readFile(sole.logFile('n1'), 'utf8')).toContain('bootfabric restore');
      expect(await readdir(dataOf(sole, 'n1'))).not.toContain('raft.damaged-1');
    } finally {
      await sole.stop();
      await rm(directory, { recursive: true, force: true });
    }
  });
});
