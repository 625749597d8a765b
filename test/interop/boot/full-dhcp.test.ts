import { expect, it } from 'vitest';
import { FULL_DHCP } from '../../../scripts/lab/boot-lab.ts';
import { BOOT_NEEDS } from '../../../scripts/lab/boot-needs.ts';
import { Machine } from '../../../scripts/lab/machine.ts';
import { describeWhere } from '../../support/requirements.ts';
import { Capture } from '../support/capture.ts';
import { bootLabForFile } from './boot-lab-for-file.ts';
import { fiveSteps } from './five-steps.ts';

const CASE_TIMEOUT_MS = 900_000;

describeWhere(BOOT_NEEDS, 'machines boot where the cluster hands out addresses', () => {
  const boot = bootLabForFile(FULL_DHCP);

  it('leaves an unregistered MAC without an answer', { timeout: CASE_TIMEOUT_MS }, async () => {
    const mac = '52:54:00:77:00:99';
    const capture = new Capture(boot().lab, 'udp port 67 or udp port 68');
    await capture.listening();
    const machine = new Machine(boot().lab, { mac, firmware: 'bios', folder: boot().folder });
    try {
      await machine.console.waitFor(/No configuration methods/, 120_000);
    } finally {
      await machine.powerOff();
    }
    const seen = await capture.stop();
    expect(seen, 'the machine asked').toMatch(/BOOTP\/DHCP, Request from 52:54:00:77:00:99/);
    expect(seen, 'nobody answered').not.toMatch(/BOOTP\/DHCP, Reply/);
  });

  it('BIOS, five failures in a row', { timeout: CASE_TIMEOUT_MS }, async () => {
    const mac = '52:54:00:77:00:01';
    await boot().cluster.addClient('bios-full', mac, boot().image);
    await fiveSteps(boot().lab, boot().cluster, boot().folder, {
      name: 'bios-full',
      client: 'bios-full',
      mac,
      firmware: 'bios',
      kills: 5,
    });
  });

  it('UEFI', { timeout: CASE_TIMEOUT_MS }, async () => {
    const mac = '52:54:00:77:00:02';
    await boot().cluster.addClient('uefi-full', mac, boot().image);
    await fiveSteps(boot().lab, boot().cluster, boot().folder, {
      name: 'uefi-full',
      client: 'uefi-full',
      mac,
      firmware: 'uefi',
      kills: 1,
    });
  });
});
