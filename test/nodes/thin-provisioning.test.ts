import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Initiator } from '../../scripts/simulator/iscsi-initiator.ts';
import { writeRequest } from '../../scripts/simulator/scsi-exchange.ts';
import { describeWhere } from '../support/requirements.ts';
import { type ClusterFixture, clusterForFile, until } from './support/cluster-fixture.ts';

const DISK_MIB = 48;
const GROWN_MIB = 256;
const MAC = '52:54:00:fe:00:01';
const PLACES = 64;
const PLACE_BYTES = 64 * 1024;
/** More than the disk takes, by far. */
const MAX_WRITES = 2_000;

/** THIN PROVISIONING SOFT THRESHOLD REACHED (SBC-3 §4.7.3.7). */
const SOFT_THRESHOLD = '06/38/07';
/** SPACE ALLOCATION FAILED WRITE PROTECT (SBC-3 §4.7.3.6). */
const SPACE_ALLOCATION_FAILED = '07/27/07';
const GOOD = 'good';

describeWhere(
  { root: true, commands: ['mount', 'umount'], enableWith: 'run the tests as root' },
  'an initiator whose disk is on a node that fills up',
  () => {
    let small = '';
    const shared = clusterForFile('127.200.42', async (cluster) => {
      small = join(cluster.nodeDirectory('n1'), 'data');
      await mkdir(small);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'bootfabric-test', small]);
    });
    let fixture: ClusterFixture;
    let initiator: Initiator;
    /** What each place was last written with, where that was acknowledged. */
    const written = new Map<number, number>();
    let writes = 0;

    beforeAll(async () => {
      fixture = shared();
      const { portalGroups } = await fixture.status('n1');
      const group = portalGroups.find((g) => g.primary === 'n1')?.id ?? 'pg1';
      await fixture.addClient('thin', MAC, '--portal-group', group);
      initiator = await fixture.attach(await fixture.boot(MAC));
    }, 30_000);

    // Before the fixture's own clean-up, which would meet a busy directory.
    afterAll(async () => {
      initiator?.destroy();
      await shared().cluster.stop();
      // What looked at the mounts meanwhile may still hold it for a moment.
      await until('its disk is let go of', async () => execFileSync('umount', [small]) !== undefined);
    }, 30_000);

    /** Writes once. @returns how that ended: good, or key, code and qualifier of the sense data */
    async function write(): Promise<string> {
      const n = writes++;
      const place = n % PLACES;
      const data = Buffer.alloc(PLACE_BYTES, n & 0xff);
      const reply = await initiator.command(writeRequest((place * PLACE_BYTES) / 512, data, false));
      if (reply.status === 0) {
        written.set(place, n & 0xff);
        return GOOD;
      }
      const { sense } = reply;
      const codes = [(sense[2] ?? 0) & 15, sense[12] ?? 0, sense[13] ?? 0];
      return codes.map((code) => code.toString(16).padStart(2, '0')).join('/');
    }

    it('is told before there is no space, then refused, and goes on when there is room', async () => {
      const endings: string[] = [];
      while (endings.length < MAX_WRITES && !endings.includes(SPACE_ALLOCATION_FAILED)) {
        endings.push(await write());
      }
      const told = endings.indexOf(SOFT_THRESHOLD);
      const refused = endings.indexOf(SPACE_ALLOCATION_FAILED);
      expect(endings.slice(0, told).every((ending) => ending === GOOD)).toBe(true);
      expect(told).toBeGreaterThan(0);
      // Told while writes still found space, and once.
      expect(endings.slice(told + 1, refused)).toContain(GOOD);
      expect(endings.filter((ending) => ending === SOFT_THRESHOLD)).toHaveLength(1);
      expect(refused).toBeGreaterThan(told);
      expect(new Set(endings)).toEqual(new Set([GOOD, SOFT_THRESHOLD, SPACE_ALLOCATION_FAILED]));

      execFileSync('mount', ['-o', `remount,size=${GROWN_MIB}m`, small]);
      await until('writes find space again', async () => (await write()) === GOOD, 30_000);
      for (let i = 0; i < PLACES; i++) expect([GOOD, SOFT_THRESHOLD]).toContain(await write());
      for (const [place, value] of written) {
        const read = await initiator.read((place * PLACE_BYTES) / 512, PLACE_BYTES / 512);
        expect(Buffer.compare(read, Buffer.alloc(PLACE_BYTES, value)), `place ${place}`).toBe(0);
      }
    }, 120_000);
  },
);
