import { ByteReader, latin1 } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { invariant, ProtocolError } from '../../base/errors.ts';
import { type Ipv4, ipv4FromNumber, ipv4ToNumber } from '../../base/ipv4.ts';
import { bit, bytes, layout, u8, u16, u32 } from '../../base/layout.ts';
import { MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN } from './limits.ts';
import { type DhcpOptions, dhcpOption } from './option-registry.ts';

/*
 * RFC 2131 §2
 *
 *    0                   1                   2                   3
 *   |     op (1)    |   htype (1)   |   hlen (1)    |   hops (1)    |   0
 *   |                            xid (4)                            |   4
 *   |           secs (2)            |B|         flags (2)           |   8
 *   |                          ciaddr  (4)                          |  12
 *   |                          yiaddr  (4)                          |  16
 *   |                          siaddr  (4)                          |  20
 *   |                          giaddr  (4)                          |  24
 *   |                          chaddr  (16)                         |  28
 *   |                          sname   (64)                         |  44
 *   |                          file    (128)                        | 108
 *   |                        magic cookie (4)                       | 236
 *   |                       options (variable)                      | 240
 */
const header = layout('DHCP message', 240, {
  op: u8(0),
  htype: u8(1),
  hlen: u8(2),
  hops: u8(3),
  xid: u32(4),
  secs: u16(8),
  broadcast: bit(10, 7),
  ciaddr: u32(12),
  yiaddr: u32(16),
  siaddr: u32(20),
  giaddr: u32(24),
  chaddr: bytes(28, 16),
  sname: bytes(44, 64),
  file: bytes(108, 128),
  magicCookie: u32(236),
});

const MAGIC_COOKIE = 0x63825363;
const PAD = 0;
const END = 255;
/** Bits of the overload option (RFC 2132 §9.3). */
const OVERLOAD_FILE = 1;
const OVERLOAD_SNAME = 2;

export const BOOT_REQUEST = 1;
export const BOOT_REPLY = 2;
export const HARDWARE_ETHERNET = 1;

export interface DhcpMessage {
  readonly op: number;
  readonly htype: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  /** The client cannot yet take unicast. */
  readonly broadcast: boolean;
  readonly ciaddr: Ipv4;
  readonly yiaddr: Ipv4;
  readonly siaddr: Ipv4;
  readonly giaddr: Ipv4;
  /** hlen bytes, at most 16. */
  readonly chaddr: Uint8Array;
  /** Empty when the field carries options instead. */
  readonly sname: string;
  /** Empty when the field carries options instead. */
  readonly file: string;
  readonly options: DhcpOptions;
}

/**
 * Reads a DHCP message (RFC 2131 §2), joining options split over several parts and over the overloaded
 * `file` and `sname` fields (RFC 3396). A missing End option is let pass, since some clients fill the
 * field to its last byte.
 * @throws ProtocolError code "truncated", "too-long", "not-dhcp" or "bad-hardware-length"
 */
export function decodeDhcpMessage(input: Uint8Array): DhcpMessage {
  if (input.length > MESSAGE_BYTES_MAX) {
    throw new ProtocolError(`a DHCP message of ${input.length} bytes is too long`, {
      code: 'too-long',
      got: input.length,
      limit: MESSAGE_BYTES_MAX,
    });
  }
  const fixed = header.decode(input);
  if (fixed.magicCookie !== MAGIC_COOKIE) {
    throw new ProtocolError('the options do not begin with the DHCP magic cookie', {
      code: 'not-dhcp',
      got: fixed.magicCookie,
      limit: MAGIC_COOKIE,
      rfc: 'RFC 2131 §3',
    });
  }
  if (fixed.hlen > 16) {
    throw new ProtocolError(`a hardware address of ${fixed.hlen} bytes does not fit chaddr`, {
      code: 'bad-hardware-length',
      got: fixed.hlen,
      limit: 16,
      rfc: 'RFC 2131 §2',
    });
  }
  const parts = new Map<number, Uint8Array[]>();
  collectOptions(input.subarray(header.sizeBytes), parts);
  const overload = parts.get(dhcpOption.overload.code)?.[0]?.[0] ?? 0;
  // RFC 3396 §5: the options field, then file, then sname.
  if ((overload & OVERLOAD_FILE) !== 0) collectOptions(fixed.file, parts);
  if ((overload & OVERLOAD_SNAME) !== 0) collectOptions(fixed.sname, parts);
  return {
    op: fixed.op,
    htype: fixed.htype,
    hops: fixed.hops,
    xid: fixed.xid,
    secs: fixed.secs,
    broadcast: fixed.broadcast,
    ciaddr: ipv4FromNumber(fixed.ciaddr),
    yiaddr: ipv4FromNumber(fixed.yiaddr),
    siaddr: ipv4FromNumber(fixed.siaddr),
    giaddr: ipv4FromNumber(fixed.giaddr),
    chaddr: fixed.chaddr.subarray(0, fixed.hlen),
    sname: (overload & OVERLOAD_SNAME) !== 0 ? '' : paddedText(fixed.sname),
    file: (overload & OVERLOAD_FILE) !== 0 ? '' : paddedText(fixed.file),
    options: joinParts(parts),
  };
}

function collectOptions(field: Uint8Array, parts: Map<number, Uint8Array[]>): void {
  const reader = new ByteReader(field, 'DHCP options');
  while (reader.remaining > 0) {
    const code = reader.u8();
    if (code === PAD) continue;
    if (code === END) return;
    const value = reader.bytes(reader.u8());
    const earlier = parts.get(code);
    if (earlier === undefined) parts.set(code, [value]);
    else earlier.push(value);
  }
}

function joinParts(parts: ReadonlyMap<number, readonly Uint8Array[]>): DhcpOptions {
  const joined = new Map<number, Uint8Array>();
  for (const [code, values] of parts) {
    const [only] = values;
    joined.set(code, values.length === 1 && only !== undefined ? only : Buffer.concat(values));
  }
  return joined;
}

function paddedText(field: Uint8Array): string {
  const end = field.indexOf(0);
  return latin1(end === -1 ? field : field.subarray(0, end));
}

/**
 * Writes a message with its options in the order of the map, each of more than 255 bytes split (RFC 3396 §6),
 * padded to 300 bytes. Never overloads `file` and `sname`.
 */
export function encodeDhcpMessage(message: DhcpMessage): Uint8Array {
  invariant(message.chaddr.length <= 16, 'chaddr is too long');
  // A name that fills its field to the last byte has no NUL, which some readers need.
  invariant(message.sname.length < 64 && message.file.length < 128, 'sname or file is too long');
  const fixed = header.encode({
    op: message.op,
    htype: message.htype,
    hlen: message.chaddr.length,
    hops: message.hops,
    xid: message.xid,
    secs: message.secs,
    broadcast: message.broadcast,
    ciaddr: ipv4ToNumber(message.ciaddr),
    yiaddr: ipv4ToNumber(message.yiaddr),
    siaddr: ipv4ToNumber(message.siaddr),
    giaddr: ipv4ToNumber(message.giaddr),
    chaddr: message.chaddr,
    sname: Buffer.from(message.sname, 'latin1'),
    file: Buffer.from(message.file, 'latin1'),
    magicCookie: MAGIC_COOKIE,
  });
  const writer = new ByteWriter(512).bytes(fixed);
  for (const [code, value] of message.options) writeSplit(writer, code, value);
  writer.u8(END);
  if (writer.length < MESSAGE_BYTES_MIN) writer.zeros(MESSAGE_BYTES_MIN - writer.length);
  return writer.finish();
}

function writeSplit(writer: ByteWriter, code: number, value: Uint8Array): void {
  let at = 0;
  do {
    const part = value.subarray(at, at + 255);
    writer.u8(code).u8(part.length).bytes(part);
    at += part.length;
  } while (at < value.length);
}
