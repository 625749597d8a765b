import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ClientListDocument } from '../../api/contract/clients.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import { allBelow, DiskTrouble, SYNC_CALLS } from '../../scripts/lab/disk-trouble.ts';
import { describeWhere } from '../support/requirements.ts';
import { clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';
import { StampedDisks } from './support/stamped-disks.ts';

const GROUPS = ['pg1', 'pg2', 'pg3'] as const;
const GROUP = 'pg1';
const STEP_MS = 60_000;
const ENDS_WITHIN_MS = 30_000;
const FAILS = { calls: SYNC_CALLS, inject: 'error=EIO' };

describeWhere(
  { root: true, commands: ['strace'], enableWith: 'as root: apt-get install strace' },
  'a node whose disk fails to sync',
  () => {
    const shared = clusterForFile('127.200.48', undefined, { supervised: true });
    let disks: StampedDisks;
    let trouble: DiskTrouble | undefined;
    let series = 0;
    let additions = 0;

    beforeEach(async () => {
      disks = new StampedDisks(shared());
      await disks.start(GROUPS, ++series);
    }, STEP_MS);

    afterEach(async () => {
      await trouble?.end();
      await disks.finish();
    }, STEP_MS);

    it('of a group that it leads ends, and others serve what was acknowledged', {
      timeout: STEP_MS,
    }, async () => {
      const { primary } = await group(GROUP);
      await failsAndStaysDown(primary, join('groups', GROUP, 'log'));
      await othersGoOnWithout(primary);
      await comesBackWithAnotherDisk(primary);
    });

    it('of a group that it has a copy of ends, and its primary goes on', { timeout: STEP_MS }, async () => {
      const { primary, inSync } = await group(GROUP);
      const backup = inSync.find((member) => member !== primary) as string;
      await failsAndStaysDown(backup, join('groups', GROUP, 'log'));
      await othersGoOnWithout(backup);
      expect((await group(GROUP, primary)).primary).toBe(primary);
      await comesBackWithAnotherDisk(backup);
    });

    it.each([
      ['leads', (leader: string) => leader],
      ['follows', otherThan],
    ])(
      'of the cluster log that it %s ends, and comes back with all of it',
      {
        timeout: 2 * STEP_MS,
      },
      async (role, pick) => {
        const node = pick(await leaderOfCluster());
        const other = otherThan(node);
        const acknowledged = [await change(`${role}-before`, other)];
        await failsAndStaysDown(node, 'raft', () => tryChange(`${role}-meanwhile`, other, acknowledged));
        acknowledged.push(await change(`${role}-after`, other));
        await othersGoOnWithout(node);

        shared().cluster.start(node);
        await shared().cluster.waitUntilServing(NODE_IDS.length);
        await until('it knows every change', async () => {
          const { json } = await shared().api(node, '/api/v1/clients?consistency=local');
          const names = (json as ClientListDocument).clients.map(({ name }) => name);
          return acknowledged.every((name) => names.includes(name));
        });
      },
    );

    async function leaderOfCluster(): Promise<string> {
      const { leader } = (await shared().status(NODE_IDS[0])).cluster;
      if (leader === null) throw new Error('nobody leads the cluster log');
      return leader;
    }

    /** @returns what has been added to the configuration */
    async function change(name: string, at: string): Promise<string> {
      await shared().insist(addition(name, at));
      return name;
    }

    /** Whoever leads may be about to end. */
    async function tryChange(name: string, at: string, acknowledged: string[]): Promise<void> {
      const { status } = await shared().cluster.cli([...addition(name, at), '--json']);
      if (status === 0) acknowledged.push(name);
    }

    function addition(name: string, at: string): string[] {
      const mac = `52:54:00:48:00:${(++additions).toString(16).padStart(2, '0')}`;
      return ['client', 'add', name, '--mac', mac, '--image', 'base', '--node', at];
    }

    async function group(id: string, at: string = NODE_IDS[0]) {
      const found = (await shared().status(at)).portalGroups.find((one) => one.id === id);
      if (found?.primary === undefined || found.primary === null) throw new Error(`nobody serves ${id}`);
      return { ...found, primary: found.primary };
    }

    /**
     * @param below the part of its data whose files can no longer be made durable
     * @param provoke has something written there, where nothing is by itself
     */
    async function failsAndStaysDown(
      node: string,
      below: string,
      provoke: () => Promise<void> = () => Promise.resolve(),
    ): Promise<void> {
      const { cluster } = shared();
      const directory = join(cluster.nodeDirectory(node), 'data', below);
      const only = allBelow(directory);
      trouble = await DiskTrouble.of(cluster.processId(node) as number, { ...FAILS, only });
      await provoke();
      // What looks after the node ends with it, so nothing is left that could start it again.
      const ended = (): Promise<boolean> => Promise.resolve(cluster.exitCode(node) !== null);
      await until(`${node} ends`, ended, ENDS_WITHIN_MS);
      expect(cluster.exitCode(node)).toBe(EXIT_CODE.storage);
      await until('its log is written', async () => (await lastLine(node)).includes('node.failed'));
      const last = JSON.parse(await lastLine(node)) as Record<string, unknown>;
      expect(last).toMatchObject({ event: 'node.failed', cause: 'storage' });
      expect(last['reason']).toContain('EIO');
      expect(last['reason']).toContain(directory);
    }

    async function lastLine(node: string): Promise<string> {
      return (await shared().log(node)).trimEnd().split('\n').at(-1) ?? '';
    }

    async function othersGoOnWithout(node: string): Promise<void> {
      await until(
        `nothing is expected of ${node} any more`,
        async () => {
          const { portalGroups } = await shared().status(otherThan(node));
          return portalGroups.every(({ primary, inSync }) => primary !== node && !inSync.includes(node));
        },
        ENDS_WITHIN_MS,
      );
      await disks.more(20);
      expect(await disks.finish()).toBe(StampedDisks.blocksOf(GROUPS.length));
      expect(disks.violations).toEqual([]);
    }

    /** What was on the failed one is not there any more, as docs/guides/integrity.md has an administrator do. */
    async function comesBackWithAnotherDisk(node: string): Promise<void> {
      const { cluster } = shared();
      await rm(join(cluster.nodeDirectory(node), 'data', 'groups'), { recursive: true });
      cluster.start(node);
      await cluster.waitUntilServing(NODE_IDS.length);
    }
  },
);

function otherThan(node: string): string {
  return NODE_IDS.find((id) => id !== node) as string;
}
