import { expect, it } from 'vitest';
import { FULL_DHCP } from '../../../scripts/lab/boot-lab.ts';
import { BOOT_NEEDS } from '../../../scripts/lab/boot-needs.ts';
import { bootThroughBrokenFetch, type Fate, type FetchMoment } from '../../../scripts/lab/kills-at-fetch.ts';
import { Machine } from '../../../scripts/lab/machine.ts';
import { describeWhere } from '../../support/requirements.ts';
import { bootLabForFile } from './boot-lab-for-file.ts';

const CASE_TIMEOUT_MS = 1_800_000;

describeWhere(BOOT_NEEDS, 'machines whose node is lost while it sends what they boot with', () => {
  const boot = bootLabForFile(FULL_DHCP);

  async function through(firmware: 'bios' | 'uefi', mac: string, moment: FetchMoment, fate: Fate) {
    const name = `${firmware}-${fate}`;
    const { address } = await boot().cluster.addClient(name, mac, boot().image);
    const machine: { current?: Machine } = {};
    const begin = (): Machine => {
      machine.current = new Machine(boot().lab, { mac, firmware, folder: boot().folder });
      return machine.current;
    };
    try {
      const options = { mac, address: address ?? '', firmware, begin };
      const { report: _, ...figures } = await bootThroughBrokenFetch(boot(), options, moment, fate);
      console.log(`FIGURES ${JSON.stringify({ case: name, moment, ...figures })}`);
      return figures;
    } finally {
      await machine.current?.powerOff();
    }
  }

  it.each([
    ['killed', '52:54:00:77:00:41'],
    ['hung', '52:54:00:77:00:43'],
  ] as const)('BIOS: %s while iPXE fetches its script', { timeout: CASE_TIMEOUT_MS }, async (fate, mac) => {
    const { askedNext, firmwareSaid } = await through('bios', mac, 'while iPXE fetches its script', fate);
    expect(askedNext).toBe('GET /boot/');
    expect(firmwareSaid, 'in one go').toHaveLength(1);
  });

  it('UEFI: killed while the firmware fetches iPXE', { timeout: CASE_TIMEOUT_MS }, async () => {
    const moment = 'while firmware fetches iPXE';
    const { askedNext, firmwareSaid } = await through('uefi', '52:54:00:77:00:42', moment, 'killed');
    expect(askedNext).toMatch(/snponly\.efi$/);
    expect(firmwareSaid.join('\n'), 'it gave that boot entry up').not.toMatch(/starting Boot.*PXEv4/);
  });
});
