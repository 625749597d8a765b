import { ByteReader } from '../../base/byte-reader.ts';
import { ByteWriter } from '../../base/byte-writer.ts';
import { ProtocolError } from '../../base/errors.ts';
import { type Ipv4, ipv4FromNumber, ipv4ToNumber } from '../../base/ipv4.ts';
import type { Endpoint } from '../net/tcp-segment.ts';
import { MAX_NOTICE_ENDPOINTS } from './limits.ts';

/**
 * What the node that serves a group lets its other members know, so that whoever follows finds the initiators:
 *
 *     u8 version | u8 flags (1: the address is here and open) | u16 count | count times: u32 IPv4 address, u16 port
 *
 * Later versions may add to the end.
 */
export interface PortalNotice {
  /** The portal address is on the sender and listened on. */
  readonly isOpen: boolean;
  /** Initiators' ends of the sessions; beyond the bound some are missing, who then find out by themselves. */
  readonly initiators: readonly Endpoint[];
}

const VERSION = 1;
const FLAG_OPEN = 1;

export function encodeNotice({ isOpen, initiators }: PortalNotice): Uint8Array {
  const told = initiators.slice(0, MAX_NOTICE_ENDPOINTS);
  const writer = new ByteWriter(4 + 6 * told.length);
  writer
    .u8(VERSION)
    .u8(isOpen ? FLAG_OPEN : 0)
    .u16(told.length);
  for (const { address, port } of told) writer.u32(ipv4ToNumber(address)).u16(port);
  return writer.finish();
}

/** @throws ProtocolError code "truncated", "bad-notice" */
export function decodeNotice(bytes: Uint8Array): PortalNotice {
  const reader = new ByteReader(bytes, 'portal notice');
  const version = reader.u8();
  if (version < VERSION) throw new ProtocolError('portal notice', { code: 'bad-notice', got: version });
  const isOpen = (reader.u8() & FLAG_OPEN) !== 0;
  const count = reader.u16();
  if (count > MAX_NOTICE_ENDPOINTS) {
    throw new ProtocolError('portal notice', { code: 'bad-notice', got: count, limit: MAX_NOTICE_ENDPOINTS });
  }
  const initiators: { address: Ipv4; port: number }[] = [];
  for (let i = 0; i < count; i++)
    initiators.push({ address: ipv4FromNumber(reader.u32()), port: reader.u16() });
  return { isOpen, initiators };
}

/** "ADDRESS:PORT" taken apart; undefined for what is not IPv4, whom nobody nudges. */
export function endpointOf(remote: string): Endpoint | undefined {
  const match = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+):(\d+)$/.exec(remote);
  return match === null ? undefined : { address: match[1] as Ipv4, port: Number(match[2]) };
}
