import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { allBelow, DiskTrouble, SYNC_CALLS } from '../../scripts/lab/disk-trouble.ts';
import { finish } from '../../scripts/lab/process-run.ts';
import { PACE_SLOW_FOR_MS } from '../../storage/replication/limits.ts';
import { describeWhere } from '../support/requirements.ts';
import { clusterForFile, NODE_IDS, until } from './support/cluster-fixture.ts';
import { DurableWriter } from './support/durable-writer.ts';

const GROUP = 'pg1';
/** Slow by the rule (PACE_SLOW_SYNC_MS), and not so slow as to count as failed (SLOW_SYNC_MS) on a machine that is busy too. */
const DELAY_MS = 500;
const SLOW = { calls: SYNC_CALLS, inject: `delay_enter=${DELAY_MS * 1000}` };
const TEST_MS = 60_000;
const START_MS = 30_000;
const PUT_OUT_WITHIN_MS = 20_000;
const BACK_WITHIN_MS = 40_000;
/** The rule would have had its say by then, and had it again. */
const HELD_UP_MS = 2.5 * PACE_SLOW_FOR_MS;
const HELD_UP_WITHIN_MS = 30_000;
/** Answers by which the pace is judged. */
const SAMPLE = 15;

describeWhere(
  {
    root: true,
    commands: ['mount', 'strace', 'umount'],
    enableWith: 'as root: apt-get install strace',
  },
  'a node whose disk is slow',
  () => {
    const mounted: string[] = [];
    // In memory, lest the disk of the machine that tests make all of them slow.
    const shared = clusterForFile('127.200.49', async (cluster) => {
      for (const node of NODE_IDS) {
        const path = join(cluster.nodeDirectory(node), 'data');
        await mkdir(path);
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512m', 'bootfabric-test', path]);
        mounted.push(path);
      }
    });
    const troubles: DiskTrouble[] = [];
    let writer: DurableWriter;

    beforeAll(async () => {
      const client = await shared().addClient('pc', '52:54:00:49:00:01', '--portal-group', GROUP);
      writer = new DurableWriter(client);
    }, START_MS);

    afterEach(async () => {
      await Promise.all(troubles.splice(0).map((trouble) => trouble.end()));
    });

    // Before the fixture's own clean-up, which would meet busy directories.
    afterAll(async () => {
      await writer?.stop();
      await shared().cluster.stop();
      // What a node leaves behind when it ends, as its guardian, may have a file open for a moment.
      for (const path of mounted) await until(`${path} is let go of`, () => unmounts(path));
    }, START_MS);

    it('is put out of the set where two others are left, says why, and comes back once it is well', {
      timeout: TEST_MS,
    }, async () => {
      const { primary, slow } = await parts();
      const { cluster } = shared();
      await writer.more(SAMPLE);
      await slowDown(slow);
      await until('it is put out', async () => (await group(primary)).slow !== null, PUT_OUT_WITHIN_MS);
      await until('it is out', async () => !(await group(primary)).inSync.includes(slow), PUT_OUT_WITHIN_MS);
      // Clients had to wait for it, and do so no longer, slow as it still is.
      expect(writer.slowestMs()).toBeGreaterThan(DELAY_MS);
      const answered = writer.answers;
      await writer.more(SAMPLE);
      expect(writer.medianMs(answered)).toBeLessThan(DELAY_MS / 2);

      const { slow: said, inSync } = await group(primary);
      expect(said).toContain(`${slow} was taken out of the in-sync set for being slow (`);
      expect(inSync).toHaveLength(2);
      expect((await cluster.cli(['status', '--node', primary])).stdout).toContain('ALARM, slow copies');
      expect(await putOutForBeingSlow(primary)).toContain(slow);
      expect(await shared().counter(primary, 'replication.put-out-slow')).toBeGreaterThan(0);

      await well();
      await until('it is back', async () => (await group(primary)).inSync.length === 3, BACK_WITHIN_MS);
      expect((await group(primary)).slow).toBeNull();
      await writer.more(SAMPLE);
      await writer.readBack();
    });

    it('stays where all are as slow', { timeout: TEST_MS }, async () => {
      const { primary } = await parts();
      const before = await putOutForBeingSlow(primary);
      for (const node of NODE_IDS) await slowDown(node, GROUP);
      await heldUp(primary, 3);
      expect(await putOutForBeingSlow(primary)).toEqual(before);
      await well();
      await writer.readBack();
    });

    it('stays where it is one of two, and is named', { timeout: TEST_MS }, async () => {
      const { primary, slow, third } = await parts();
      const before = await putOutForBeingSlow(primary);
      await shared().cluster.kill(third);
      await until('two are left', async () => (await group(primary)).inSync.length === 2, START_MS);
      await slowDown(slow, GROUP);
      await heldUp(primary, 2);
      expect((await group(primary)).slow).toMatch(
        new RegExp(`^${slow} is slow \\(.*kept in sync while too few others are$`),
      );
      expect(await putOutForBeingSlow(primary)).toEqual(before);
      await well();
      await writer.readBack();
    });

    async function group(at: string) {
      const found = (await shared().status(at)).portalGroups.find(({ id }) => id === GROUP);
      if (found === undefined) throw new Error(`${at} knows nothing of ${GROUP}`);
      return found;
    }

    /** Of the cluster log nobody is to wait for it, so it is none that leads that. */
    async function parts(): Promise<{ primary: string; slow: string; third: string }> {
      await shared().cluster.waitUntilServing(NODE_IDS.length);
      const { primary } = await group(NODE_IDS[0]);
      const { leader } = (await shared().status(NODE_IDS[0])).cluster;
      const backups = NODE_IDS.filter((node) => node !== primary);
      const slow = backups.find((node) => node !== leader);
      const third = backups.find((node) => node !== slow);
      if (primary === null || slow === undefined || third === undefined) throw new Error('nobody serves it');
      return { primary, slow, third };
    }

    /** @param only whose log it is that takes so long to be made durable; absent: all that the node has */
    async function slowDown(node: string, only?: string): Promise<void> {
      const data = join(shared().cluster.nodeDirectory(node), 'data');
      const where = only === undefined ? {} : { only: allBelow(join(data, 'groups', only, 'log')) };
      const processId = shared().cluster.processId(node) as number;
      troubles.push(await DiskTrouble.of(processId, { ...SLOW, ...where }));
    }

    async function well(): Promise<void> {
      await Promise.all(troubles.splice(0).map((trouble) => trouble.end()));
    }

    /** Waits until clients have waited for slow disks for long, so many copies being in sync all the while. */
    async function heldUp(primary: string, copies: number): Promise<void> {
      let sinceMs = performance.now();
      let answered = writer.answers;
      await until(
        `clients are held up for ${HELD_UP_MS} ms`,
        async () => {
          const isHeldUp = (await group(primary)).inSync.length === copies;
          if (!isHeldUp || (writer.answers > answered && writer.medianMs(answered) < DELAY_MS)) {
            sinceMs = performance.now();
            answered = writer.answers;
          }
          return performance.now() - sinceMs >= HELD_UP_MS && writer.answers > answered;
        },
        HELD_UP_WITHIN_MS,
      );
    }

    /** Whom the primary's log says so of, of this group. */
    async function putOutForBeingSlow(primary: string): Promise<string[]> {
      const lines = (await shared().log(primary))
        .split('\n')
        .filter((line) => line.includes('"reason":"slow"'));
      return lines
        .map((line) => JSON.parse(line) as { group: string; remove: string })
        .filter((event) => event.group === GROUP)
        .map(({ remove }) => remove);
    }
  },
);

function unmounts(path: string): Promise<boolean> {
  const { status } = finish('umount', [path]);
  return Promise.resolve(status === 0);
}
