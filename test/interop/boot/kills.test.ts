import { expect, it } from 'vitest';
import { FULL_DHCP } from '../../../scripts/lab/boot-lab.ts';
import { BOOT_MOMENTS, bootThroughKill } from '../../../scripts/lab/kills-at-boot.ts';
import { KILLS_NEEDS, killUnderMachine } from '../../../scripts/lab/kills-under-way.ts';
import { type GuestReport, Machine } from '../../../scripts/lab/machine.ts';
import { describeWhere } from '../../support/requirements.ts';
import { bootLabForFile } from './boot-lab-for-file.ts';

const CASE_TIMEOUT_MS = 1_800_000;
/** `npm run chaos:machine` does twenty. */
const KILLS = 3;

describeWhere(KILLS_NEEDS, 'machines whose nodes are killed', () => {
  const boot = bootLabForFile(FULL_DHCP);
  let machine: Machine | undefined;

  /** Powers a machine on, kills its node at the first moment of a boot, resets it, kills at the next, and so on. */
  async function bootThroughKills(firmware: 'bios' | 'uefi', mac: string) {
    let ready: GuestReport | undefined;
    const begin = (): Machine => {
      if (machine === undefined) machine = new Machine(boot().lab, { mac, firmware, folder: boot().folder });
      else machine.reboot();
      return machine;
    };
    for (const moment of BOOT_MOMENTS) {
      const { report, ...figures } = await bootThroughKill(boot(), { mac, firmware, begin }, moment);
      console.log(`FIGURES ${JSON.stringify({ firmware, moment, ...figures })}`);
      expect(figures.readBefore, `read from ${figures.killed} ${moment}`).toBeGreaterThan(0);
      expect(figures.readAfter, `read from another node ${moment}`).toBeGreaterThan(0);
      expect(report.bootId, 'a system of its own').not.toBe(ready?.bootId);
      ready = report;
    }
    if (machine === undefined || ready === undefined) throw new Error('there is no moment');
    return { machine, ready };
  }

  it('BIOS: while iPXE reads, while GRUB reads, and three times under fio', {
    timeout: CASE_TIMEOUT_MS,
  }, async () => {
    const mac = '52:54:00:77:00:31';
    const client = await boot().cluster.addClient('bios-kills', mac, boot().image);
    try {
      const running = await bootThroughKills('bios', mac);
      const figures = await killUnderMachine(boot(), {
        client,
        ...running,
        kills: KILLS,
        say: () => undefined,
      });
      expect(figures.pausesMs).toHaveLength(KILLS);
      expect(figures.rounds).toBeGreaterThan(0);
      console.log(`FIGURES ${JSON.stringify({ case: 'bios-kills', ...figures })}`);
    } finally {
      await machine?.powerOff();
      machine = undefined;
    }
  });

  it('UEFI: while iPXE reads and while GRUB reads', { timeout: CASE_TIMEOUT_MS }, async () => {
    const mac = '52:54:00:77:00:32';
    await boot().cluster.addClient('uefi-kills', mac, boot().image);
    try {
      await bootThroughKills('uefi', mac);
    } finally {
      await machine?.powerOff();
      machine = undefined;
    }
  });
});
