const PCAP_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const ETHERNET_HEADER_BYTES = 14;
const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_TCP = 6;

/**
 * The frames of a capture as tcpdump writes it on this machine, while it is still being written: little-endian, no link
 * layer but Ethernet.
 */
export class CaptureReader {
  #left: Buffer = Buffer.alloc(0);
  #passedHeader = false;

  /** @returns the frames that are whole now; they are views of what came */
  push(bytes: Buffer): Buffer[] {
    let left = this.#left.length === 0 ? bytes : Buffer.concat([this.#left, bytes]);
    if (!this.#passedHeader && left.length >= PCAP_HEADER_BYTES) {
      left = left.subarray(PCAP_HEADER_BYTES);
      this.#passedHeader = true;
    }
    const frames: Buffer[] = [];
    while (this.#passedHeader && left.length >= RECORD_HEADER_BYTES) {
      const endBytes = RECORD_HEADER_BYTES + left.readUInt32LE(8);
      if (left.length < endBytes) break;
      frames.push(left.subarray(RECORD_HEADER_BYTES, endBytes));
      left = left.subarray(endBytes);
    }
    this.#left = left;
    return frames;
  }
}

export interface TcpSegment {
  /** Address and port. */
  readonly from: string;
  readonly to: string;
  /** Who put the frame on the wire, as hexadecimal pairs joined by colons. */
  readonly fromMac: string;
  readonly sequence: number;
  readonly opens: boolean;
  /** FIN or RST. */
  readonly ends: boolean;
  readonly payload: Buffer;
}

/** undefined: no TCP over IPv4. */
export function tcpSegment(frame: Buffer): TcpSegment | undefined {
  const packet = ipv4Packet(frame);
  if (packet?.protocol !== PROTOCOL_TCP) return undefined;
  const { payload: tcp, fromAddress, toAddress } = packet;
  return {
    from: `${fromAddress}:${tcp.readUInt16BE(0)}`,
    to: `${toAddress}:${tcp.readUInt16BE(2)}`,
    fromMac: frame
      .subarray(6, 12)
      .toString('hex')
      .replaceAll(/(..)(?!$)/g, '$1:'),
    sequence: tcp.readUInt32BE(4),
    opens: ((tcp[13] as number) & 2) !== 0,
    ends: ((tcp[13] as number) & 5) !== 0,
    payload: tcp.subarray(((tcp[12] as number) >> 4) * 4),
  };
}

export interface Ipv4Packet {
  readonly fromAddress: string;
  readonly toAddress: string;
  readonly protocol: number;
  readonly payload: Buffer;
}

/** undefined: no IPv4. */
export function ipv4Packet(frame: Buffer): Ipv4Packet | undefined {
  if (frame.readUInt16BE(12) !== ETHERTYPE_IPV4) return undefined;
  const ip = frame.subarray(ETHERNET_HEADER_BYTES);
  const headerBytes = ((ip[0] as number) & 15) * 4;
  const address = (at: number): string => ip.subarray(at, at + 4).join('.');
  return {
    fromAddress: address(12),
    toAddress: address(16),
    protocol: ip[9] as number,
    // Short frames are padded beyond the end of the packet.
    payload: ip.subarray(headerBytes, ip.readUInt16BE(2)),
  };
}
