import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from '../../../scripts/lab/lab.ts';
import { kill } from '../../../scripts/lab/process-run.ts';

/** The DHCP server a site has already: it hands out addresses and knows nothing of booting. */
export class SiteDhcp {
  readonly #process: ChildProcess;

  constructor(lab: Lab, station: string, folder: string) {
    const log = openSync(join(folder, 'site-dhcp.log'), 'a');
    const args = [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--port=0',
      '--interface=eth0',
      '--user=root',
    ];
    args.push('--dhcp-range=10.77.0.50,10.77.0.99,1h', '--dhcp-authoritative', '--no-ping', '--log-dhcp');
    args.push('--log-facility=-', `--dhcp-leasefile=${join(folder, 'site-dhcp.leases')}`);
    this.#process = lab.spawnAt(station, 'dnsmasq', args, ['ignore', log, log]);
    closeSync(log);
  }

  async stop(): Promise<void> {
    await kill(this.#process);
  }
}
