import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FULL_DHCP } from '../../../scripts/lab/boot-lab.ts';
import { KILLS_NEEDS, killUnderMachine } from '../../../scripts/lab/kills-under-way.ts';
import { Machine } from '../../../scripts/lab/machine.ts';
import { type DiskPath, type DiskPaths, pathsThat } from '../../../scripts/lab/paths.ts';
import { describeWhere } from '../../support/requirements.ts';
import { LoginCapture } from '../support/login-capture.ts';
import { expectGolden } from '../support/login-transcript.ts';
import { bootLabForFile } from './boot-lab-for-file.ts';

const CASE_TIMEOUT_MS = 1_800_000;
const BOOT_TIMEOUT_MS = 600_000;
/** What the guest's paths go by: its name ends so. */
const CLIENT = 'several-paths';
const MAC = '52:54:00:77:00:09';
const KILLS = 2;
const GOLDENS = join(import.meta.dirname, 'logins');

describeWhere(KILLS_NEEDS, 'a machine with dm-multipath', () => {
  const boot = bootLabForFile(FULL_DHCP);

  it('has its root on active and standby paths, and goes on by one that was in standby, twice', {
    timeout: CASE_TIMEOUT_MS,
  }, async () => {
    const { cluster, lab, folder } = boot();
    const client = await cluster.addClient(CLIENT, MAC, boot().image, ['--multipath']);
    const movable = client.portal.split(':')[0] ?? '';

    /** By the portal that moves and the own one of the node it is on; the other nodes' are in standby. */
    async function whole(): Promise<DiskPaths> {
      const primary = cluster.addressOf((await cluster.lunOf(CLIENT)).primary);
      const isGood = ({ portalAddress }: DiskPath): boolean => [movable, primary].includes(portalAddress);
      const paths = await pathsThat(machine, 'two paths active, two in standby', ({ all }) =>
        all.every((path) => stateOf(path) === (isGood(path) ? ACTIVE : STANDBY)),
      );
      const portals = [movable, ...boot().nodes.map((node) => cluster.addressOf(node))];
      expect(paths.all.map(({ portalAddress }) => portalAddress).sort()).toEqual(portals.sort());
      expect(paths.maps, 'one disk').toBe(1);
      expect(new Set(paths.all.map(({ wwid }) => wwid)).size, 'one identity').toBe(1);
      return paths;
    }

    /** A path that was in standby is in use, takes writes, and is the new primary's. */
    async function switched(killed: string): Promise<void> {
      const { primary } = await cluster.lunOf(CLIENT);
      expect(primary, 'another node serves the disk').not.toBe(killed);
      const portalOf = ({ all }: DiskPaths, node: string): DiskPath | undefined =>
        all.find(({ portalAddress }) => portalAddress === cluster.addressOf(node));
      expect(stateOf(portalOf(before, primary))).toBe(STANDBY);
      const after = await pathsThat(
        machine,
        'a path in standby became active, the dead one failed',
        (paths) =>
          stateOf(portalOf(paths, primary)) === ACTIVE && portalOf(paths, killed)?.isActive === false,
      );
      const third = boot().nodes.find((node) => node !== killed && node !== primary) ?? '';
      expect(stateOf(portalOf(after, third)), 'the third node still backs it up').toBe(STANDBY);
      const writes = portalOf(after, primary)?.writes ?? 0;
      await pathsThat(machine, 'it takes writes', (now) => (portalOf(now, primary)?.writes ?? 0) > writes);
    }

    const logins = new LoginCapture(lab, join(folder, `${CLIENT}.pcap`));
    await logins.listening();
    const machine = new Machine(lab, { mac: MAC, firmware: 'bios', folder });
    let before: DiskPaths;
    try {
      const ready = await machine.ready(BOOT_TIMEOUT_MS);
      before = await whole();
      expectLogins(await logins.stop());
      const figures = await killUnderMachine(boot(), {
        client,
        machine,
        ready,
        kills: KILLS,
        say: () => undefined,
        whileDown: switched,
        whenWhole: async () => {
          before = await whole();
        },
      });
      expect(figures.pausesMs).toHaveLength(KILLS);
      console.log(`FIGURES ${JSON.stringify({ case: CLIENT, ...figures })}`);
    } catch (error) {
      throw new Error(`${String(error)}\n-- console\n${machine.console.tail()}`, { cause: error });
    } finally {
      await machine.powerOff();
    }
  });
});

/** One of iPXE, and of open-iscsi one for each path: they differ by the tag of the path's portal group. */
function expectLogins(transcripts: readonly string[]): void {
  const granted = transcripts.filter((login) => /NSG=3 status 0\.0 /.test(login));
  const by = (immediateData: string): string[] =>
    granted.filter((login) => login.includes(`\n    ImmediateData=${immediateData}\n`));
  expectGolden(join(GOLDENS, 'ipxe-multipath.txt'), by('No')[0] ?? 'there was none\n');
  expectGolden(join(GOLDENS, 'open-iscsi-multipath.txt'), [...new Set(by('Yes'))].sort().join('\n'));
}

const ACTIVE = 'active/optimized ready active in use';
const STANDBY = 'standby ghost active aside';

function stateOf(path: DiskPath | undefined): string {
  if (path === undefined) return 'no path';
  const { access, checker, isActive, isInUse } = path;
  return [access, checker, isActive ? 'active' : 'failed', isInUse ? 'in use' : 'aside'].join(' ');
}
