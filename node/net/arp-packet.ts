import { type Ipv4, ipv4ToNumber } from '../../base/ipv4.ts';
import { bytes, layout, u8, u16, u32 } from '../../base/layout.ts';
import { type MacAddress, macToBytes } from '../../base/mac-address.ts';

/*
 * An ARP packet (RFC 826) in its Ethernet frame:
 *
 *   | destination (6) | source (6) | 0x0806 (2) |
 *   | htype (2) | ptype (2) | hlen (1) | plen (1) | operation (2) |
 *   | sender MAC (6) | sender IPv4 (4) | target MAC (6) | target IPv4 (4) |
 */
export const arpFrame = layout('ARP frame', 42, {
  destination: bytes(0, 6),
  source: bytes(6, 6),
  etherType: u16(12),
  hardwareType: u16(14),
  protocolType: u16(16),
  hardwareLength: u8(18),
  protocolLength: u8(19),
  operation: u16(20),
  senderMac: bytes(22, 6),
  senderAddress: u32(28),
  targetMac: bytes(32, 6),
  targetAddress: u32(38),
});

export const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV4 = 0x0800;
const HARDWARE_ETHERNET = 1;
const OPERATION_REQUEST = 1;
const OPERATION_REPLY = 2;
const EVERYONE = new Uint8Array(6).fill(0xff);

/**
 * "This address is mine" (RFC 5227 §3), as a request and as a reply: some systems update their tables from
 * the one and some only from the other.
 */
export function gratuitousArpFrames(address: Ipv4, mac: MacAddress): readonly [Uint8Array, Uint8Array] {
  const source = macToBytes(mac);
  const frame = (operation: number, targetMac: Uint8Array): Uint8Array =>
    arpFrame.encode({
      destination: EVERYONE,
      source,
      etherType: ETHERTYPE_ARP,
      hardwareType: HARDWARE_ETHERNET,
      protocolType: ETHERTYPE_IPV4,
      hardwareLength: 6,
      protocolLength: 4,
      operation,
      senderMac: source,
      senderAddress: ipv4ToNumber(address),
      targetMac,
      targetAddress: ipv4ToNumber(address),
    });
  return [frame(OPERATION_REQUEST, new Uint8Array(6)), frame(OPERATION_REPLY, EVERYONE)];
}
