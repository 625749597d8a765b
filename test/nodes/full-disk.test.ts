import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ImageListDocument } from '../../api/contract/images.ts';
import type { NodeStatusDocument } from '../../api/contract/status.ts';
import { SeededRandom } from '../../base/random.ts';
import { ScsiStatusError } from '../../scripts/simulator/scsi-exchange.ts';
import { ballastBytes } from '../../storage/log/ballast.ts';
import { LOG_RESERVE_PARTS } from '../../storage/replication/limits.ts';
import { describeWhere } from '../support/requirements.ts';
import {
  type ClusterFixture,
  clusterForFile,
  FILLED_BLOCKS,
  NODE_IDS,
  until,
} from './support/cluster-fixture.ts';
import { SteadyMachine } from './support/steady-machine.ts';

const DISK_MIB = 24;
const IMAGE_MIB = 40;
/** More than its disk has, by far. */
const OTHERS_MIB = 40;
const GROWN_MIB = 192;
const MIB = 1024 * 1024;
const MAC = '52:54:00:ff:00:01';
const HTTP_NO_SPACE = 507;
/** DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT: what a write gets that finds no room (SBC-3 §4.7.3.6). */
const SPACE_ALLOCATION_FAILED = 'sense 07/27/07';

describeWhere(
  { root: true, commands: ['mount', 'umount'], enableWith: 'run the tests as root' },
  'a node whose disk is small',
  () => {
    let small = '';
    const shared = clusterForFile('127.200.7', async (cluster) => {
      small = join(cluster.nodeDirectory('n1'), 'data');
      await mkdir(small);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'bootfabric-test', small]);
    });
    let fixture: ClusterFixture;
    let machine: SteadyMachine;
    let processIds: (number | undefined)[];

    beforeAll(async () => {
      fixture = shared();
      processIds = fixture.processIds();
      const { portalGroups } = await fixture.status('n1');
      const group = portalGroups.find((g) => g.primary === 'n1')?.id ?? 'pg1';
      await fixture.addClient('pc', MAC, '--portal-group', group);
      writeNoise(fixture.path('large.raw'), IMAGE_MIB * 1024 * 1024);
    }, 30_000);

    // Before the fixture's own clean-up, which would meet a busy directory.
    afterAll(async () => {
      await machine?.stop();
      await shared().cluster.stop();
      execFileSync('umount', [small]);
    }, 30_000);

    async function working(run: () => Promise<void>): Promise<void> {
      machine = new SteadyMachine(await fixture.attach(await fixture.boot(MAC)), FILLED_BLOCKS);
      machine.start();
      await run();
      await machine.stop();
      expect(machine.problem).toBeUndefined();
      expect(machine.rounds).toBeGreaterThan(0);
      expect(fixture.processIds()).toEqual(processIds);
    }

    it('refuses an image that does not fit, with one clear error and nothing half-made, and serves on', async () => {
      await working(async () => {
        const before = await freeBytes(small);
        const args = ['image', 'import', 'large', fixture.path('large.raw'), '--node', 'n1', '--json'];
        const { status, stderr } = await fixture.cluster.cli(args);
        expect(status).toBe(1);
        const { error } = JSON.parse(stderr) as { error: { code: string; message: string } };
        expect(error.code).toBe('disk-full');
        expect(error.message).toContain('large');
        expect(await fixture.counter('n1', 'api.refused.disk-full')).toBe(1);
        expect(await readdir(join(small, 'images/staging'))).toEqual([]);
        expect(await imageNames()).toEqual(['base']);
        // What the machine wrote meanwhile is all that has grown.
        expect(before - (await freeBytes(small))).toBeLessThan(8 * 1024 * 1024);
      });
    }, 60_000);

    it('says so with status 507', async () => {
      expect((await fixture.upload('n1', 'large', fixture.path('large.raw'))).status).toBe(HTTP_NO_SPACE);
    });

    it('serves on while the others take an image that it has no room for', async () => {
      await working(async () => {
        const args = ['image', 'import', 'large', fixture.path('large.raw'), '--node', 'n2', '--no-wait'];
        await fixture.cluster.cliJson(args);
        await until('n2 and n3 hold it', async () => (await holders('large')).join() === 'n2,n3', 30_000);
        await until('n1 has tried', async () => (await fixture.counter('n1', 'content.failed')) > 0);
        expect(await freeBytes(small)).toBeGreaterThan(4 * 1024 * 1024);
      });
    }, 90_000);

    it('filled by writes: each is acknowledged or fails, the rest is there, and others serve on', async () => {
      const target = await fixture.boot(MAC);
      const initiator = await fixture.attach(target);
      const written = new Map<number, number>();
      const block = (n: number): Buffer => Buffer.alloc(64 * 1024, n);
      let failed = 0;
      let lost = false;
      for (let n = 1; n <= 600 && failed < 3 && !lost; n++) {
        const place = n % 64;
        try {
          await initiator.write(place * 128, block(n & 0xff));
          written.set(place, n & 0xff);
        } catch (error) {
          if (!(error instanceof ScsiStatusError)) lost = true;
          else expect(error.message).toContain(SPACE_ALLOCATION_FAILED);
          written.delete(place);
          failed++;
        }
      }
      initiator.destroy();
      const again = await fixture.attach(target, 20_000);
      for (const [place, value] of written) {
        const read = await again.read(place * 128, 128);
        expect(Buffer.compare(read, block(value)), `place ${place}`).toBe(0);
      }
      again.destroy();
      const others = NODE_IDS.slice(1);
      expect(others.map((id) => fixture.cluster.processId(id))).toEqual(processIds.slice(1));
      // The two others are a majority and go on taking changes.
      await fixture.addClient('late', '52:54:00:ff:00:02', '--node', 'n2');
    }, 90_000);

    it('is done without by groups that others lead, without an error at their machines, and keeps its reserve', async () => {
      const { portalGroups } = await fixture.status('n2');
      const group = portalGroups.find((g) => g.primary === 'n2')?.id ?? 'pg2';
      await fixture.addClient('else', '52:54:00:ff:00:03', '--portal-group', group);
      const initiator = await fixture.attach(await fixture.boot('52:54:00:ff:00:03'));
      const places = OTHERS_MIB * 16;
      for (let n = 0; n < places; n++) await initiator.write((n % 64) * 128, Buffer.alloc(64 * 1024, n));
      let now: NodeStatusDocument['portalGroups'][number] | undefined;
      await until('the group goes on without n1', async () => {
        now = (await fixture.status('n2')).portalGroups.find((g) => g.id === group);
        return now?.inSync.includes('n1') === false && now.inSync.length === 2;
      });
      expect(now?.room).toContain('only the reserve for compaction is left on n1');
      const read = Buffer.from(await initiator.read(128, 128));
      expect(read.equals(Buffer.alloc(64 * 1024, places - 63))).toBe(true);
      initiator.destroy();
      expect(fixture.processIds()).toEqual(processIds);
      expect(await freeBytes(small)).toBeGreaterThan((DISK_MIB * MIB) / LOG_RESERVE_PARTS / 3);
      const { stdout } = await fixture.cluster.cli(['status', '--node', 'n2']);
      expect(stdout).toContain('ALARM, disks of portal groups');
    }, 90_000);

    it('without a byte left is started by letting go of its ballast, which comes back with the room', async () => {
      const ballast = join(small, 'ballast');
      const { cluster } = fixture;
      await until('the ballast is there', async () => (await readdir(small)).includes('ballast'), 30_000);
      await cluster.kill('n1');
      fillUp(join(small, 'junk'));
      expect(await freeBytes(small)).toBe(0);
      cluster.start('n1');
      await until(
        'n1 takes part again',
        async () => (await fixture.status('n1')).cluster.leader !== null,
        90_000,
      );
      expect(existsSync(ballast)).toBe(false);
      expect(await readFile(cluster.logFile('n1'), 'utf8')).toContain('disk.ballast-let-go');
      await rm(join(small, 'junk'));
      execFileSync('mount', ['-o', `remount,size=${GROWN_MIB}m`, small]);
      await until('the ballast is there again', () => Promise.resolve(existsSync(ballast)), 30_000);
      expect((await stat(ballast)).size).toBe(ballastBytes(GROWN_MIB * MIB));
      await until(
        'n1 has everything again',
        async () =>
          (await fixture.status('n2')).portalGroups.every((g) => g.inSync.length === 3 && g.room === null),
        150_000,
      );
    }, 300_000);

    async function imageNames(): Promise<string[]> {
      const { json } = await fixture.api('n2', '/api/v1/images');
      return (json as ImageListDocument).images.map((image) => image.name);
    }

    async function holders(name: string): Promise<string[]> {
      const { json } = await fixture.api('n2', '/api/v1/images');
      const image = (json as ImageListDocument).images.find((one) => one.name === name);
      return [...(image?.versions[0]?.holders ?? [])].sort();
    }
  },
);

function fillUp(path: string): void {
  const file = openSync(path, 'w');
  const piece = Buffer.alloc(4096, 1);
  try {
    for (;;) writeSync(file, piece);
  } catch (error) {
    expect((error as { code?: string }).code).toBe('ENOSPC');
  } finally {
    closeSync(file);
  }
}

async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

/** Without a zero block, so that none of it is a hole. */
function writeNoise(path: string, sizeBytes: number): void {
  const noise = new SeededRandom(7).bytes(1024 * 1024);
  const file = openSync(path, 'w');
  try {
    ftruncateSync(file, 0);
    for (let at = 0; at < sizeBytes; at += noise.length) writeSync(file, noise);
  } finally {
    closeSync(file);
  }
}
