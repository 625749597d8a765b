import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AddedPortalGroupDocument } from '../../api/contract/portal-groups.ts';
import type { BootTarget } from '../../scripts/simulator/boot-script.ts';
import type { Initiator } from '../../scripts/simulator/iscsi-initiator.ts';
import { ClusterFixture, FILLED_BLOCKS, until } from './support/cluster-fixture.ts';

const NETWORK = '127.200.43';
const MAC = '52:54:00:99:43:01';
const PORTAL = `${NETWORK}.99`;
const STEP_MS = 150_000;
const PATIENCE_MS = 60_000;
const LBA = (FILLED_BLOCKS + 7) * 8;

/** Directories of a portal group are replaced by what they were some time ago. The group's copies are on n2 and n3. */
describe('an older copy in the place of the present one', () => {
  let fixture: ClusterFixture;
  let group: string;
  let target: BootTarget;

  beforeAll(async () => {
    fixture = await ClusterFixture.start(NETWORK);
    await fixture.cluster.cliJson(['cluster', 'set', '--replicas', '2', '--rebalance', 'off']);
    const add = ['portal-group', 'add', PORTAL, '--on', 'n2', '--on', 'n3'];
    ({ id: group } = (await fixture.cluster.cliJson(add)) as AddedPortalGroupDocument);
    await areInSync('n2', 'n3');
    await fixture.addClient('guest', MAC, '--portal-group', group, '--write-cache', 'keep');
    target = await fixture.boot(MAC);
  }, STEP_MS);
  afterAll(() => fixture?.stop(), PATIENCE_MS);

  async function groupAt(nodeId: string) {
    const { portalGroups } = await fixture.status(nodeId);
    return portalGroups.find(({ id }) => id === group);
  }

  function areInSync(...nodeIds: string[]): Promise<void> {
    return until(
      `${nodeIds.join(' and ')} are in sync`,
      async () => (await groupAt('n1'))?.inSync.toSorted().join() === nodeIds.join(),
      PATIENCE_MS,
    );
  }

  /** The group may be moved just then. */
  async function withDisk(use: (initiator: Initiator) => Promise<void>): Promise<void> {
    await until(
      'the disk is served',
      async () => {
        const initiator = await fixture.attach(target);
        await use(initiator);
        initiator.destroy();
        return true;
      },
      PATIENCE_MS,
    );
  }

  const write = (fill: number): Promise<void> =>
    withDisk((disk) => disk.write(LBA, Buffer.alloc(4096, fill), { forceUnitAccess: true }));

  async function readFill(): Promise<number> {
    let read = Buffer.alloc(0);
    await withDisk(async (disk) => {
      read = Buffer.from(await disk.read(LBA, 8));
    });
    expect(read.equals(Buffer.alloc(4096, read[0]))).toBe(true);
    return read[0] as number;
  }

  const entries = (nodeId: string): string[] =>
    [group, `${group}.meta`].map((name) =>
      join(fixture.cluster.nodeDirectory(nodeId), 'data', 'groups', name),
    );
  const kept = (nodeId: string, name: string): string[] =>
    ['log', 'meta'].map((what) => fixture.path(`${nodeId}-${name}-${what}`));

  async function backUp(nodeId: string, name: string): Promise<void> {
    const [from, to] = [entries(nodeId), kept(nodeId, name)];
    for (const [i, path] of from.entries()) await cp(path, to[i] as string, { recursive: true });
  }

  /** In the place of what is there, which is kept. The node must not run. */
  async function putBack(nodeId: string, name: string, keepAs: string): Promise<void> {
    const [places, from, aside] = [entries(nodeId), kept(nodeId, name), kept(nodeId, keepAs)];
    for (const [i, place] of places.entries()) {
      await rm(aside[i] as string, { recursive: true, force: true });
      await rename(place, aside[i] as string);
      await cp(from[i] as string, place, { recursive: true });
    }
  }

  async function restart(nodeId: string): Promise<void> {
    await fixture.cluster.kill(nodeId);
    await areInSync(...['n2', 'n3'].filter((id) => id !== nodeId));
    fixture.cluster.start(nodeId);
    await areInSync('n2', 'n3');
  }

  /** n2 is the last in sync, writes alone and dies. n3, which lacks that, is up. */
  async function dieAlone(fill: number): Promise<void> {
    const { cluster } = fixture;
    await cluster.kill('n3');
    await areInSync('n2');
    await write(fill);
    await cluster.kill('n2');
    cluster.start('n3');
    await until('n3 is up', async () => (await fixture.status('n3')).cluster.leader !== null, PATIENCE_MS);
  }

  const isRefused = (): Promise<void> =>
    until(
      'the older copy is told apart',
      async () => (await groupAt('n1'))?.waiting?.includes('is up over an older copy') === true,
      PATIENCE_MS,
    );

  it(
    'is not served where it was the last in sync, and the right one is once it is back',
    async () => {
      const { cluster } = fixture;
      await write(1);
      await backUp('n2', 'running');
      await restart('n2');
      await dieAlone(2);
      await putBack('n2', 'running', 'right');
      cluster.start('n2');
      await isRefused();
      expect((await groupAt('n1'))?.primary).toBeNull();
      const { stdout } = await cluster.cli(['status', '--node', 'n1']);
      expect(stdout).toContain('ALARM, portal groups that nobody can serve');
      expect(stdout).toContain('put the newest copy of that disk back in its place and start the node again');
      expect(stdout).toContain(`portal-group start-from ${group} NODE --i-accept-data-loss`);
      expect(await fixture.log('n2')).toContain('portal-group.waits');
      await expect(fixture.attach(target, 1_000)).rejects.toThrow();

      await cluster.kill('n2');
      await putBack('n2', 'right', 'older');
      cluster.start('n2');
      expect(await readFill()).toBe(2);
      await areInSync('n2', 'n3');
    },
    STEP_MS,
  );

  it(
    'is gone on from only where an administrator says so',
    async () => {
      const { cluster } = fixture;
      await dieAlone(3);
      await putBack('n2', 'running', 'lost');
      cluster.start('n2');
      await isRefused();
      const startFrom = ['portal-group', 'start-from', group, 'n2'];
      expect((await cluster.cli(startFrom)).status).not.toBe(0);
      expect((await cluster.cli([...startFrom, '--i-accept-data-loss'])).stderr).toBe('');
      expect(await readFill()).toBe(1);
      await areInSync('n2', 'n3');
    },
    STEP_MS,
  );

  it(
    'is brought up to date where another copy is in sync',
    async () => {
      const { cluster } = fixture;
      await cluster.kill('n2');
      await areInSync('n3');
      await backUp('n2', 'stopped');
      cluster.start('n2');
      await areInSync('n2', 'n3');
      await write(4);
      await cluster.kill('n2');
      await areInSync('n3');
      await putBack('n2', 'stopped', 'newer');
      cluster.start('n2');
      await areInSync('n2', 'n3');
      await cluster.cliJson(['portal-group', 'move', group, 'n2']);
      await until('n2 serves it', async () => (await groupAt('n2'))?.serving === true, PATIENCE_MS);
      expect(await readFill()).toBe(4);
    },
    STEP_MS,
  );
});
