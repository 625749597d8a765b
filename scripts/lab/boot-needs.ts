import { GUEST_IMAGE_NEEDS } from '../guest-image/build.ts';
import { MACHINE_NEEDS } from './machine.ts';
import type { Requirements } from './requirements.ts';

const packages = [
  ...MACHINE_NEEDS.packages,
  ...GUEST_IMAGE_NEEDS.packages,
  'dnsmasq-base',
  'ipxe',
  'iproute2',
  'procps',
  'tcpdump',
];

export const BOOT_NEEDS: Requirements = {
  root: true,
  commands: [...MACHINE_NEEDS.commands, ...GUEST_IMAGE_NEEDS.commands, 'dnsmasq', 'ip', 'sysctl', 'tcpdump'],
  files: [...MACHINE_NEEDS.files, ...GUEST_IMAGE_NEEDS.files, '/usr/lib/ipxe/snponly.efi', '/dev/net/tun'],
  enableWith: `apt-get install --no-install-recommends ${packages.join(' ')} (and run as root)`,
};
