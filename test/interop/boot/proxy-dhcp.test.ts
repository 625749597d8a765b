import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PROXY_DHCP } from '../../../scripts/lab/boot-lab.ts';
import { BOOT_NEEDS } from '../../../scripts/lab/boot-needs.ts';
import { Machine } from '../../../scripts/lab/machine.ts';
import { describeWhere } from '../../support/requirements.ts';
import { Capture } from '../support/capture.ts';
import { SiteDhcp } from '../support/site-dhcp.ts';
import { bootLabForFile } from './boot-lab-for-file.ts';
import { fiveSteps } from './five-steps.ts';

const CASE_TIMEOUT_MS = 600_000;

describeWhere(BOOT_NEEDS, "machines boot beside the site's own DHCP server", () => {
  const boot = bootLabForFile(PROXY_DHCP);
  let site: SiteDhcp | undefined;
  beforeAll(() => {
    const { lab, site: siteName, folder } = boot();
    site = new SiteDhcp(lab, siteName, folder);
  });
  afterAll(async () => {
    await site?.stop();
  });

  it('leaves an unregistered MAC to the site alone', { timeout: CASE_TIMEOUT_MS }, async () => {
    const capture = new Capture(boot().lab, 'udp src port 67 or udp src port 4011');
    await capture.listening();
    const mac = '52:54:00:77:00:99';
    const machine = new Machine(boot().lab, { mac, firmware: 'uefi', folder: boot().folder });
    try {
      await machine.console.waitFor(/PXE-E\d\d|No bootable option|Shell>/, 120_000);
    } finally {
      await machine.powerOff();
    }
    const seen = await capture.stop();
    expect(seen, 'the site gave it an address').toMatch(/10\.77\.0\.2\.67 >/);
    expect(seen, 'no node spoke').not.toMatch(/10\.77\.0\.1[123]\.(67|4011) >/);
  });

  for (const firmware of ['bios', 'uefi'] as const) {
    it(firmware.toUpperCase(), { timeout: CASE_TIMEOUT_MS }, async () => {
      const mac = firmware === 'bios' ? '52:54:00:77:00:03' : '52:54:00:77:00:04';
      // One machine attaches its disk with secrets on both sides and digests, the other without either.
      const name = firmware === 'bios' ? 'bios-digests' : 'uefi-proxy';
      const chap = firmware === 'bios' ? ['--chap', 'mutual'] : [];
      await boot().cluster.addClient(name, mac, boot().image, chap);
      const logins = join(import.meta.dirname, 'logins');
      const steps = { name, client: name, mac, firmware, kills: 1, logins };
      await fiveSteps(boot().lab, boot().cluster, boot().folder, steps);
    });
  }
});
