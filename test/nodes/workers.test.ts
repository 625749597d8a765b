import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { ClientDocument } from '../../api/contract/clients.ts';
import { workerOfGroup } from '../../cluster/state/data-plane-workers.ts';
import { CONFIG_FILE } from '../../node/config.ts';
import { LOCAL_PORTS } from '../../scripts/demo/local-cluster.ts';
import type { BootTarget } from '../../scripts/simulator/boot-script.ts';
import { Initiator } from '../../scripts/simulator/iscsi-initiator.ts';
import { login } from '../../scripts/simulator/iscsi-wire.ts';
import { clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';

const WORKERS = 2;
const GROUPS = ['pg1', 'pg2', 'pg3'] as const;
/** Of the second worker; see node/data-plane-size.ts. */
const SECOND_PORTS = { replication: 7500, iscsi: 7501 };
const TAKEOVER_TIMEOUT_MS = 90_000;
const BLOCK = 512;

const shared = clusterForFile('127.200.47', undefined, { workers: WORKERS });
const initiators: Initiator[] = [];

interface Disk {
  readonly group: string;
  readonly client: ClientDocument;
  readonly target: BootTarget;
  /** What is in block n, by n. */
  readonly written: Map<number, Buffer>;
}

afterEach(() => {
  for (const initiator of initiators.splice(0)) initiator.destroy();
});

/** One disk in each portal group. */
async function addDisks(kind: string, ...more: string[]): Promise<Disk[]> {
  const disks: Disk[] = [];
  for (const [i, group] of GROUPS.entries()) {
    const mac = `52:54:00:cc:47:${kind}${i}`;
    const client = await shared().addClient(`disk-${kind}${i}`, mac, '--portal-group', group, ...more);
    disks.push({ group, client, target: await shared().boot(mac), written: new Map() });
  }
  return disks;
}

async function attach(disk: Disk): Promise<Initiator> {
  const initiator = await shared().attach(disk.target, TAKEOVER_TIMEOUT_MS);
  initiators.push(initiator);
  return initiator;
}

/** Writes one block more to each disk, and reads all that was ever acknowledged. */
async function writeAndReadAll(disks: readonly Disk[]): Promise<void> {
  for (const disk of disks) {
    const initiator = await attach(disk);
    const next = disk.written.size;
    const data = Buffer.alloc(BLOCK, `${disk.group} block ${next} `);
    await initiator.write(next, data);
    disk.written.set(next, data);
    for (const [block, expected] of disk.written) {
      expect(Buffer.from(await initiator.read(block, 1)), `${disk.group}, block ${block}`).toEqual(expected);
    }
    initiator.destroy();
  }
}

async function setWorkers(nodeId: string, workers: number): Promise<void> {
  const file = join(shared().cluster.nodeDirectory(nodeId), CONFIG_FILE);
  const text = await readFile(file, 'utf8');
  expect(text).toMatch(/^ +workers: \d+$/m);
  await writeFile(file, text.replace(/^( +workers:) .*$/m, `$1 ${workers}`));
}

async function workersStarted(nodeId: string): Promise<unknown[]> {
  const lines = (await shared().log(nodeId)).split('\n').filter((line) => line.includes('"node.started"'));
  return lines.map((line) => (JSON.parse(line) as { workers: unknown }).workers);
}

async function moveAll(groups: readonly string[], nodeId: string): Promise<void> {
  for (const group of groups) {
    await until(`${nodeId} leads ${group}`, async () => {
      if ((await primaryOf(group, nodeId)) === nodeId) return true;
      await shared().cluster.cliJson(['portal-group', 'move', group, nodeId]);
      return true;
    });
  }
  await until(`${nodeId} serves ${groups.join(', ')}`, async () => {
    const { portalGroups } = await shared().status(nodeId);
    return portalGroups.every(({ id, serving }) => serving || !groups.includes(id));
  });
}

const primaryOf = async (group: string, asked: string): Promise<string | null> =>
  (await shared().status(asked)).portalGroups.find(({ id }) => id === group)?.primary ?? null;

describe('a node with several data-plane workers', () => {
  it('serves groups of each, and each keeps its copies', async () => {
    expect(new Set(GROUPS.map((group) => workerOfGroup(group, WORKERS))).size).toBe(WORKERS);
    for (const id of NODE_IDS) expect((await workersStarted(id)).at(-1)).toBe(WORKERS);
    const disks = await addDisks('0', '--write-cache', 'keep');
    await writeAndReadAll(disks);
    const { portalGroups, sessions } = await shared().status('n1');
    expect(portalGroups.map(({ inSync }) => inSync.length)).toEqual(GROUPS.map(() => NODE_IDS.length));
    expect(sessions).toEqual([]);
    // Asked for at the address of a group of another worker, and served at its own.
    const [first, second] = disks as [Disk, Disk];
    expect(workerOfGroup(first.group, WORKERS)).not.toBe(workerOfGroup(second.group, WORKERS));
    await moveAll([first.group, second.group], 'n2');
    const { targetName, initiatorName } = first.client;
    const wire = await login({
      host: second.target.portalAddress,
      port: second.target.portalPort,
      targetName,
      initiatorName,
    });
    expect(wire.host).toBe(first.target.portalAddress);
    wire.wire.destroy();
    await writeAndReadAll(disks);
  }, 290_000);

  it('loses nothing with a node, and goes on with another number of workers', async () => {
    const { cluster } = shared();
    const disks = await addDisks('1', '--write-cache', 'keep');
    await writeAndReadAll(disks);
    const victim = (await primaryOf('pg1', 'n1')) ?? 'n1';
    const other = NODE_IDS.find((id) => id !== victim) as string;
    await cluster.kill(victim);
    await writeAndReadAll(disks);

    await setWorkers(victim, 3);
    cluster.start(victim);
    await cluster.waitUntilServing(NODE_IDS.length);
    expect((await workersStarted(victim)).at(-1)).toBe(3);
    await writeAndReadAll(disks);
    await moveAll(GROUPS, victim);
    await writeAndReadAll(disks);

    // One worker, beside two and three.
    await cluster.kill(other);
    await writeAndReadAll(disks);
    await setWorkers(other, 1);
    cluster.start(other);
    await cluster.waitUntilServing(NODE_IDS.length);
    expect((await workersStarted(other)).at(-1)).toBe(1);
    await cluster.cliJson(['node', 'drain', victim]);
    await until('it leads nothing', async () => {
      const { portalGroups } = await shared().status(other);
      return portalGroups.every(({ primary }) => primary !== null && primary !== victim);
    });
    await writeAndReadAll(disks);
    await cluster.cliJson(['node', 'undrain', victim]);
    // What only the others have had is what they have: the last copy serves alone.
    for (const id of NODE_IDS) if (id !== other) await cluster.kill(id, 'SIGTERM');
    await until('the last one leads all', async () => {
      const { portalGroups } = await shared().status(other);
      return portalGroups.every(({ serving }) => serving);
    });
    await writeAndReadAll(disks);
    for (const id of NODE_IDS) if (id !== other) await setWorkers(id, WORKERS);
    for (const id of NODE_IDS) if (id !== other) cluster.start(id);
    await cluster.waitUntilServing(NODE_IDS.length);
    await writeAndReadAll(disks);
  }, 380_000);

  it('shows a disk with several paths where its worker is', async () => {
    const { cluster } = shared();
    const disks = await addDisks('2', '--multipath');
    const disk = disks.find(({ group }) => workerOfGroup(group, WORKERS) === 1) as Disk;
    const nodeId = 'n3';
    const host = cluster.nodeAddress(nodeId);
    await moveAll([disk.group], 'n1');
    const { clients } = (await cluster.cliJson(['client', 'list'])) as { clients: ClientDocument[] };
    const { paths } = clients.find(({ name }) => name === disk.client.name) as ClientDocument;
    expect(paths.some((path) => path.startsWith(`${host}:${SECOND_PORTS.iscsi},`))).toBe(true);
    // By the node's first portal too, which sends it on.
    const { targetName, initiatorName } = disk.client;
    for (const port of [SECOND_PORTS.iscsi, LOCAL_PORTS.iscsi]) {
      const options = { host, port, targetName, initiatorName, isid: `40000000000${port % 2}` };
      const loggedIn = await login(options);
      expect(loggedIn).toMatchObject({ host, port: SECOND_PORTS.iscsi });
      const standby = new Initiator(loggedIn, options);
      initiators.push(standby);
      // What is carried out by the primary comes back over the links of that worker.
      let reply = await standby.command({ cdb: READ_KEYS, readBytes: 8 });
      while (reply.status !== 0) reply = await standby.command({ cdb: READ_KEYS, readBytes: 8 });
      expect(reply.data).toHaveLength(8);
      expect(await shared().counter(nodeId, 'portal.command.forwarded')).toBeGreaterThan(0);
    }
  }, 260_000);
});

/** PERSISTENT RESERVE IN, READ KEYS (SPC-4 §6.15). */
const READ_KEYS = Uint8Array.from([0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
