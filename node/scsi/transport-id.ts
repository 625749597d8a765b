import { ByteWriter } from '../../base/byte-writer.ts';

/** TransportIDs of iSCSI initiator ports (SPC-4 §7.6.4.6): how persistent reservations name who registered. */

const PROTOCOL_ISCSI = 5;
/** The name with its ISID, which names a port; format 0 names the device only. */
const PORT_FORMAT = 1;
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

/** A list of them; undefined when there is one that names no iSCSI initiator port. */
export function decodeTransportIds(list: Uint8Array): readonly string[] | undefined {
  const ports: string[] = [];
  for (let at = 0; at < list.length; ) {
    if (list.length - at < HEADER_BYTES) return undefined;
    const lengthBytes = ((list[at + 2] as number) << 8) | (list[at + 3] as number);
    const end = at + HEADER_BYTES + lengthBytes;
    if (list[at] !== ((PORT_FORMAT << 6) | PROTOCOL_ISCSI) || end > list.length) return undefined;
    const text = Buffer.from(list.subarray(at + HEADER_BYTES, end)).toString('utf8');
    const port = text.replace(/\0+$/, '');
    if (!/^[^,\0]+,i,0x[0-9a-f]{12}$/i.test(port)) return undefined;
    ports.push(port);
    at = end;
  }
  return ports;
}
