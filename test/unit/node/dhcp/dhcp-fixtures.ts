import { IPV4_ANY, parseIpv4 } from '../../../../base/ipv4.ts';
import { macToBytes, parseMacAddress } from '../../../../base/mac-address.ts';
import type { DhcpSettings } from '../../../../cluster/state/model.ts';
import { DEFAULT_BOOT_FILES } from '../../../../node/dhcp/boot-decision.ts';
import type { DhcpEnvironment } from '../../../../node/dhcp/machine.ts';
import type { DhcpMessage } from '../../../../node/dhcp/message.ts';
import { type DhcpOption, writeOption } from '../../../../node/dhcp/option-registry.ts';

export const KNOWN_MAC = parseMacAddress('52:54:00:12:34:56');
export const STRANGE_MAC = parseMacAddress('52:54:00:99:99:99');
export const NODE = parseIpv4('192.0.2.11');
export const OTHER_NODE = parseIpv4('192.0.2.12');
export const FENCED_NODE = parseIpv4('192.0.2.13');
export const CLIENT_ADDRESS = parseIpv4('192.0.2.100');
export const RELAY = parseIpv4('192.0.2.254');

export const fullSettings: DhcpSettings = {
  mode: 'full',
  subnet: '192.0.2.0/24',
  router: '192.0.2.1',
  dnsServers: ['192.0.2.2'],
  leaseSeconds: 3600,
};

export function environment(
  settings: DhcpSettings,
  address: string | null = CLIENT_ADDRESS,
): DhcpEnvironment {
  return {
    settings,
    bootFiles: DEFAULT_BOOT_FILES,
    directory: {
      byMac: (mac) =>
        mac === KNOWN_MAC
          ? {
              name: 'pc-1',
              initiatorName: 'iqn.2026-11.test:pc-1',
              ...(address === null ? {} : { address: parseIpv4(address) }),
            }
          : undefined,
    },
    urls: {
      script: (mac, client, at, nowMs) => `http://${at}:8080/boot/${mac}?token=${client.name}.${nowMs}`,
      file: (name, at) => `http://${at}:8080/files/${name}`,
    },
    isFenced: (server) => server === FENCED_NODE,
  };
}

export type OptionSetting = (options: Map<number, Uint8Array>) => void;

export const having =
  <T>(option: DhcpOption<T>, value: T): OptionSetting =>
  (options) =>
    writeOption(options, option, value);

/** A request of the known client, without a relay, with the given options. */
export function request(
  type: number,
  settings: readonly OptionSetting[] = [],
  fields: Partial<DhcpMessage> = {},
): DhcpMessage {
  const options = new Map<number, Uint8Array>([[53, Uint8Array.of(type)]]);
  for (const set of settings) set(options);
  return {
    op: 1,
    htype: 1,
    hops: 0,
    xid: 0x1234,
    secs: 9,
    broadcast: false,
    ciaddr: IPV4_ANY,
    yiaddr: IPV4_ANY,
    siaddr: IPV4_ANY,
    giaddr: IPV4_ANY,
    chaddr: macToBytes(KNOWN_MAC),
    sname: '',
    file: '',
    options,
    ...fields,
  };
}
