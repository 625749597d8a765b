import { type Ipv4, ipv4ToNumber } from '../../base/ipv4.ts';
import { bytes, layout, u8, u16, u32 } from '../../base/layout.ts';
import { loadLibc, systemCallError } from './libc.ts';

/*
 * A TCP segment (RFC 9293 §3.1) without data or options in an IPv4 packet (RFC 791 §3.1) without options.
 */
const IP_HEADER_BYTES = 20;
const TCP_HEADER_BYTES = 20;
const PACKET_BYTES = IP_HEADER_BYTES + TCP_HEADER_BYTES;

const packet = layout('TCP/IPv4 packet', PACKET_BYTES, {
  versionAndLength: u8(0),
  serviceType: u8(1),
  totalLength: u16(2),
  identification: u16(4),
  fragment: u16(6),
  timeToLive: u8(8),
  protocol: u8(9),
  headerChecksum: u16(10),
  source: u32(12),
  destination: u32(16),
  sourcePort: u16(20),
  destinationPort: u16(22),
  sequence: u32(24),
  acknowledgement: u32(28),
  dataOffset: u8(32),
  flags: u8(33),
  window: u16(34),
  checksum: u16(36),
  urgent: u16(38),
});

/** The part of the packet that the TCP checksum covers beside the segment (RFC 9293 §3.1). */
const pseudoHeader = layout('TCP pseudo-header', 12, {
  addresses: bytes(0, 8),
  zero: u8(8),
  protocol: u8(9),
  length: u16(10),
});

const PROTOCOL_TCP = 6;
const TIME_TO_LIVE = 64;

/** Control bits (RFC 9293 §3.1). */
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;

export interface Endpoint {
  readonly address: Ipv4;
  readonly port: number;
}

/** A segment of a connection that this host has no socket for. */
export interface BareSegment {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly flags: number;
  readonly sequence: number;
}

/** A segment without data, that acknowledges nothing in particular and offers no window, in its packet. */
export function segmentPacket({ from, to, flags, sequence }: BareSegment): Uint8Array {
  const fields = {
    ...{ versionAndLength: 0x45, serviceType: 0, totalLength: PACKET_BYTES, identification: 0, fragment: 0 },
    ...{ timeToLive: TIME_TO_LIVE, protocol: PROTOCOL_TCP, headerChecksum: 0 },
    ...{ source: ipv4ToNumber(from.address), destination: ipv4ToNumber(to.address) },
    ...{ sourcePort: from.port, destinationPort: to.port, sequence, acknowledgement: 0 },
    ...{ dataOffset: (TCP_HEADER_BYTES / 4) << 4, flags, window: 0, checksum: 0, urgent: 0 },
  };
  const bare = packet.encode(fields);
  const pseudo = pseudoHeader.encode({
    addresses: bare.subarray(12, 20),
    ...{ zero: 0, protocol: PROTOCOL_TCP, length: TCP_HEADER_BYTES },
  });
  const checksum = internetChecksum([pseudo, bare.subarray(IP_HEADER_BYTES)]);
  const headerChecksum = internetChecksum([bare.subarray(0, IP_HEADER_BYTES)]);
  return packet.encode({ ...fields, headerChecksum, checksum });
}

/** RFC 1071, over parts of even length. */
export function internetChecksum(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] as number) << 8) | (part[i + 1] as number);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Linux, from <sys/socket.h> and <netinet/in.h>. */
const AF_INET = 2;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
/** Only to send, with a header of our own. */
const IPPROTO_RAW = 255;

/**
 * Sends segments in packets of our own making; the address that they come from need not be this host's.
 * @throws OperationError kind "unavailable" when the system refuses (privilege, no route)
 */
export function sendSegments(segments: readonly BareSegment[]): void {
  if (segments.length === 0) return;
  const libc = loadLibc();
  const fd = libc.socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) throw systemCallError(libc, 'socket', 'TCP segments');
  try {
    for (const segment of segments) {
      const bytesToSend = segmentPacket(segment);
      const to = socketAddress(segment.to);
      if (libc.sendto(fd, bytesToSend, bytesToSend.length, 0, to, to.length) !== bytesToSend.length) {
        throw systemCallError(libc, 'sendto', `a TCP segment from ${segment.from.address}`);
      }
    }
  } finally {
    libc.close(fd);
  }
}

/** struct sockaddr_in: family in host order, the rest in network order. */
function socketAddress({ address }: Endpoint): Uint8Array {
  const encoded = Buffer.alloc(16);
  encoded.writeUInt16LE(AF_INET, 0);
  encoded.writeUInt32BE(ipv4ToNumber(address), 4);
  return encoded;
}
