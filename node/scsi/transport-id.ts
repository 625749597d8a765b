import { ByteWriter } from '../../base/byte-writer.ts';

/** TransportIDs of iSCSI initiator ports (SPC-4 §7.6.4.6): how persistent reservations name who registered. */

const PROTOCOL_ISCSI = 5;
/** The name with its ISID, which names a port; the name alone, which stands for all ports that have it. */
const PORT_FORMAT = 1;
const NAME_FORMAT = 0;
const HEADER_BYTES = 4;
const SMALLEST_BYTES = 24;

/** @param port "NAME,i,0xISID" */
export function encodeTransportId(port: string): Uint8Array {
  const name = Buffer.from(port, 'utf8');
  // At least one NUL, up to a multiple of four.
  const padded = Math.max(SMALLEST_BYTES - HEADER_BYTES, (name.length + 4) & ~3);
  return new ByteWriter(HEADER_BYTES + padded)
    .u8((PORT_FORMAT << 6) | PROTOCOL_ISCSI)
    .u8(0)
    .u16(padded)
    .bytes(name)
    .zeros(padded - name.length)
    .finish();
}

/**
 * The ports that a list of them names; undefined when there is one that names no iSCSI initiator port.
 * @param portsOf those that are known of an initiator name
 */
export function decodeTransportIds(
  list: Uint8Array,
  portsOf: (initiatorName: string) => readonly string[],
): readonly string[] | undefined {
  const ports: string[] = [];
  for (let at = 0; at < list.length; ) {
    if (list.length - at < HEADER_BYTES) return undefined;
    const lengthBytes = ((list[at + 2] as number) << 8) | (list[at + 3] as number);
    const end = at + HEADER_BYTES + lengthBytes;
    const first = list[at] as number;
    if ((first & 0x3f) !== PROTOCOL_ISCSI || end > list.length) return undefined;
    const text = Buffer.from(list.subarray(at + HEADER_BYTES, end)).toString('utf8');
    const named = portsNamed(first >>> 6, text.replace(/\0+$/, ''), portsOf);
    if (named.length === 0) return undefined;
    ports.push(...named);
    at = end;
  }
  return ports;
}

function portsNamed(
  format: number,
  name: string,
  portsOf: (initiatorName: string) => readonly string[],
): readonly string[] {
  if (format === NAME_FORMAT && /^[^,\0]+$/.test(name)) return portsOf(name);
  const [, initiatorName, isid] = /^([^,\0]+),i,0x([0-9a-f]{12})$/i.exec(name) ?? [];
  // An ISID is a number: nexuses are named with its digits in lower case.
  return format === PORT_FORMAT && isid !== undefined ? [`${initiatorName},i,0x${isid.toLowerCase()}`] : [];
}
