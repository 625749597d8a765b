import {
  type Ipv4,
  type Ipv4Subnet,
  ipv4FromNumber,
  ipv4InSubnet,
  ipv4ToNumber,
  parseIpv4Subnet,
} from '../../base/ipv4.ts';
import type { DhcpSettings } from '../../cluster/state/model.ts';
import type { InitOptions } from './init-options.ts';
import { isLoopback, parseHostAddress, refuse } from './init-values.ts';
import { DEFAULT_LEASE_SECONDS, MAX_DNS_SERVERS, MAX_LEASE_SECONDS, MIN_LEASE_SECONDS } from './limits.ts';

/**
 * @param taken addresses of nodes and portals, which must not be handed out
 * @throws OperationError kind "invalid"
 */
export function planDhcp(options: InitOptions, taken: readonly Ipv4[]): DhcpSettings {
  refuseUnusedOptions(options);
  if (options.dhcp !== 'full') return { mode: options.dhcp, leaseSeconds: DEFAULT_LEASE_SECONDS };
  const subnetText = needed('--dhcp-subnet', options.dhcpSubnet, 'CIDR such as 192.0.2.0/24');
  const subnet = parseSubnet(subnetText);
  const rangeText = needed('--dhcp-range', options.dhcpRange, 'FIRST-LAST such as 192.0.2.100-192.0.2.200');
  const { first, last } = parseRange(rangeText, subnet, subnetText);
  const router =
    options.dhcpRouter === undefined
      ? undefined
      : parseInside('--dhcp-router', options.dhcpRouter, subnet, subnetText);
  const within = [...taken, ...(router === undefined ? [] : [router])].find(
    (a) => ipv4ToNumber(a) >= ipv4ToNumber(first) && ipv4ToNumber(a) <= ipv4ToNumber(last),
  );
  if (within !== undefined) {
    throw refuse(
      `--dhcp-range: ${within} lies in it but belongs to a node, a portal or the router`,
      'range-overlaps',
      rangeText,
      'a range of addresses nobody has',
    );
  }
  const dnsServers = options.dhcpDns === undefined ? undefined : parseDnsServers(options.dhcpDns);
  return {
    mode: 'full',
    subnet: subnetText,
    rangeStart: first,
    rangeEnd: last,
    ...(router === undefined ? {} : { router }),
    ...(dnsServers === undefined ? {} : { dnsServers }),
    leaseSeconds: parseLease(options.dhcpLease),
  };
}

/** An option that would be ignored is a misunderstanding; better said than found out at the first boot. */
function refuseUnusedOptions(options: InitOptions): void {
  const { dhcp } = options;
  const addressing = [
    ['--dhcp-subnet', options.dhcpSubnet],
    ['--dhcp-range', options.dhcpRange],
    ['--dhcp-router', options.dhcpRouter],
    ['--dhcp-dns', options.dhcpDns],
    ['--dhcp-lease', options.dhcpLease],
  ] as const;
  for (const [option, value] of addressing) {
    if (value === undefined || dhcp === 'full') continue;
    throw refuse(`${option} has no meaning with --dhcp ${dhcp}`, 'unused-option', value, '--dhcp full');
  }
  if (dhcp === 'off' && options.dhcpInterface !== undefined) {
    const got = options.dhcpInterface.join(', ');
    throw refuse(
      '--dhcp-interface has no meaning with --dhcp off',
      'unused-option',
      got,
      '--dhcp proxy or full',
    );
  }
}

function needed(option: string, value: string | undefined, accepted: string): string {
  if (value !== undefined) return value;
  throw refuse(`${option} is missing, which --dhcp full needs`, 'missing-option', undefined, accepted);
}

function parseSubnet(text: string): Ipv4Subnet {
  const accepted = 'a network address and a prefix length of 8 to 30, such as 192.0.2.0/24';
  let subnet: Ipv4Subnet;
  try {
    subnet = parseIpv4Subnet(text);
  } catch {
    throw refuse(`--dhcp-subnet: "${text}" is not an IPv4 subnet`, 'bad-subnet', text, accepted);
  }
  if (subnet.prefixLength < 8 || subnet.prefixLength > 30) {
    throw refuse(`--dhcp-subnet: ${text} is not a subnet for clients`, 'bad-subnet', text, accepted);
  }
  return subnet;
}

function parseInside(option: string, text: string, subnet: Ipv4Subnet, subnetText: string): Ipv4 {
  const address = parseHostAddress(option, text);
  const first = ipv4ToNumber(subnet.network);
  const last = first + 2 ** (32 - subnet.prefixLength) - 1;
  const n = ipv4ToNumber(address);
  if (ipv4InSubnet(address, subnet) && n !== first && n !== last) return address;
  throw refuse(
    `${option}: ${address} is not a host of ${subnetText}`,
    'outside-subnet',
    text,
    `${ipv4FromNumber(first + 1)} to ${ipv4FromNumber(last - 1)}`,
  );
}

function parseRange(text: string, subnet: Ipv4Subnet, subnetText: string): { first: Ipv4; last: Ipv4 } {
  const parts = text.split('-');
  if (parts.length !== 2) {
    const accepted = 'FIRST-LAST such as 192.0.2.100-192.0.2.200';
    throw refuse(`--dhcp-range: "${text}" is not a range`, 'bad-range', text, accepted);
  }
  const [first, last] = parts.map((part) => parseInside('--dhcp-range', part, subnet, subnetText)) as [
    Ipv4,
    Ipv4,
  ];
  if (ipv4ToNumber(first) > ipv4ToNumber(last)) {
    throw refuse('--dhcp-range: its first address is above its last', 'bad-range', text, `${last}-${first}`);
  }
  return { first, last };
}

function parseDnsServers(text: string): Ipv4[] {
  const servers = text.split(',').map((part) => parseHostAddress('--dhcp-dns', part.trim()));
  const unreachable = servers.find(isLoopback);
  if (servers.length > MAX_DNS_SERVERS || unreachable !== undefined) {
    const accepted = `1 to ${MAX_DNS_SERVERS} addresses that clients can reach`;
    throw refuse('--dhcp-dns: not usable as a list of name servers', 'bad-dns', text, accepted);
  }
  return servers;
}

function parseLease(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LEASE_SECONDS;
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (seconds >= MIN_LEASE_SECONDS && seconds <= MAX_LEASE_SECONDS) return seconds;
  const accepted = `${MIN_LEASE_SECONDS} to ${MAX_LEASE_SECONDS} seconds`;
  throw refuse(`--dhcp-lease: "${text}" is not a lease time`, 'bad-lease', text, accepted);
}
