import { ProtocolError } from './errors.ts';

/** An IPv4 address in dotted decimal, always in its one canonical spelling. */
export type Ipv4 = string & { readonly brand: 'Ipv4' };

export const IPV4_ANY = '0.0.0.0' as Ipv4;

/** @throws ProtocolError code "bad-ipv4" for anything but four decimal octets without leading zeros */
export function parseIpv4(text: string): Ipv4 {
  const parts = text.split('.');
  const fits = parts.length === 4 && parts.every((p) => /^(0|[1-9]\d{0,2})$/.test(p) && Number(p) <= 255);
  if (!fits) {
    throw new ProtocolError(`"${text}" is not an IPv4 address`, {
      code: 'bad-ipv4',
      got: text,
      limit: 'four octets such as 192.0.2.10',
    });
  }
  return text as Ipv4;
}

export function ipv4ToNumber(address: Ipv4): number {
  return address.split('.').reduce((n, part) => n * 256 + Number(part), 0);
}

export function ipv4FromNumber(n: number): Ipv4 {
  return [n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff].join('.') as Ipv4;
}

export function ipv4ToBytes(address: Ipv4): Uint8Array {
  return Uint8Array.from(address.split('.'), Number);
}

/** @throws ProtocolError code "bad-ipv4" unless exactly four bytes are given */
export function ipv4FromBytes(bytes: Uint8Array): Ipv4 {
  if (bytes.length !== 4) {
    throw new ProtocolError(`an IPv4 address has 4 bytes, got ${bytes.length}`, {
      code: 'bad-ipv4',
      got: bytes.length,
      limit: 4,
    });
  }
  return bytes.join('.') as Ipv4;
}

export interface Ipv4Subnet {
  readonly network: Ipv4;
  readonly prefixLength: number;
}

/** Parses "192.0.2.0/24". The host part must be zero. @throws ProtocolError code "bad-subnet" */
export function parseIpv4Subnet(text: string): Ipv4Subnet {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const prefixLength = Number(match?.[2]);
  if (match?.[1] === undefined || prefixLength > 32) throw badSubnet(text);
  const network = parseIpv4(match[1]);
  if ((ipv4ToNumber(network) & ~prefixMask(prefixLength)) !== 0) throw badSubnet(text);
  return { network, prefixLength };
}

function badSubnet(text: string): ProtocolError {
  return new ProtocolError(`"${text}" is not an IPv4 subnet`, {
    code: 'bad-subnet',
    got: text,
    limit: 'a network address and a prefix length such as 192.0.2.0/24',
  });
}

function prefixMask(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0;
}

export function ipv4Netmask(prefixLength: number): Ipv4 {
  return ipv4FromNumber(prefixMask(prefixLength));
}

export function ipv4InSubnet(address: Ipv4, subnet: Ipv4Subnet): boolean {
  const mask = prefixMask(subnet.prefixLength);
  return (ipv4ToNumber(address) & mask) >>> 0 === (ipv4ToNumber(subnet.network) & mask) >>> 0;
}
