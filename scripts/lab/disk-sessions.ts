import { Framer } from '../../node/iscsi/framer.ts';
import { opcode } from '../../node/iscsi/opcode.ts';
import { basicHeader, CDB_OFFSET, loginRequest } from '../../node/iscsi/pdu.ts';
import { opcode as operation, rw10Cdb, rw16Cdb, wideLba } from '../../node/scsi/cdb.ts';
import type { TcpSegment } from './capture-frames.ts';

/** Whatever an initiator may send in one PDU before anything is negotiated, and more. */
const DATA_SEGMENT_BYTES_MAX = 1024 * 1024;
const BLOCK_BYTES = 512;
/** The upper bits of an ISID: in the IANA format, as iPXE's, or by an OUI, as open-iscsi's (RFC 7143 §11.12.5). */
const ISID_FORMAT = { mask: 0xc0, iana: 0x40 } as const;

export interface DiskRead {
  readonly startBytes: number;
  readonly sizeBytes: number;
}

/** One connection of a machine to a portal. */
export interface DiskSession {
  /** Who logged in: iPXE, which reads for whatever runs before the system, or the system itself. */
  initiator: 'unknown' | 'ipxe' | 'system';
  /** MAC of the node that answers; undefined until one does. */
  servedBy: string | undefined;
  /** How much that node has sent, repeated bytes left out. */
  sentBytes: number;
  /** What iPXE asked for, in order, answered or not. */
  readonly reads: DiskRead[];
}

interface Connection {
  readonly session: DiskSession;
  readonly framer: Framer;
  nextFromMachine: number | undefined;
  nextFromNode: number | undefined;
}

/** Follows what a machine reads of its disk, from the TCP segments between it and the portals. */
export class DiskSessions {
  /** In the order in which they were opened. */
  readonly all: DiskSession[] = [];
  readonly #connections = new Map<string, Connection>();
  readonly #port: string;

  constructor(port: number) {
    this.#port = `:${port}`;
  }

  take(segment: TcpSegment): void {
    if (segment.to.endsWith(this.#port)) this.#fromMachine(segment);
    else this.#fromNode(segment);
  }

  #fromMachine(segment: TcpSegment): void {
    const key = `${segment.from} ${segment.to}`;
    if (segment.opens) {
      // A SYN that is sent again opens nothing new.
      const known = this.#connections.get(key);
      if (known !== undefined && known.nextFromMachine === (segment.sequence + 1) >>> 0) return;
      this.#open(key, segment.sequence);
      return;
    }
    const connection = this.#connections.get(key);
    if (connection === undefined || segment.payload.length === 0) return;
    if (segment.sequence !== connection.nextFromMachine) return;
    connection.nextFromMachine = (segment.sequence + segment.payload.length) >>> 0;
    if (connection.session.initiator !== 'system') follow(connection, segment.payload);
  }

  #open(key: string, sequence: number): void {
    const session: DiskSession = { initiator: 'unknown', servedBy: undefined, sentBytes: 0, reads: [] };
    this.all.push(session);
    this.#connections.set(key, {
      session,
      framer: new Framer(DATA_SEGMENT_BYTES_MAX),
      nextFromMachine: (sequence + 1) >>> 0,
      nextFromNode: undefined,
    });
  }

  #fromNode(segment: TcpSegment): void {
    const connection = this.#connections.get(`${segment.to} ${segment.from}`);
    if (connection === undefined || segment.payload.length === 0) return;
    const expected = connection.nextFromNode ?? segment.sequence;
    const end = (segment.sequence + segment.payload.length) >>> 0;
    const newBytes = (end - expected) | 0;
    if (newBytes <= 0) return;
    connection.nextFromNode = end;
    connection.session.servedBy ??= segment.fromMac;
    connection.session.sentBytes += newBytes;
  }
}

function follow({ framer, session }: Connection, payload: Buffer): void {
  framer.push(payload);
  for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
    const code = basicHeader.decode(frame.header, frame.at).opcode;
    if (code === opcode.loginRequest) {
      const format = (loginRequest.decode(frame.header, frame.at).isid[0] as number) & ISID_FORMAT.mask;
      session.initiator = format === ISID_FORMAT.iana ? 'ipxe' : 'system';
    } else if (code === opcode.scsiCommand) {
      const read = readOf(frame.header, frame.at + CDB_OFFSET);
      if (read !== undefined) session.reads.push(read);
    }
  }
}

function readOf(bytes: Uint8Array, at: number): DiskRead | undefined {
  if (bytes[at] === operation.read10) {
    const { lba, length } = rw10Cdb.decode(bytes, at);
    return { startBytes: lba * BLOCK_BYTES, sizeBytes: length * BLOCK_BYTES };
  }
  if (bytes[at] !== operation.read16) return undefined;
  const { lbaHigh, lbaLow, length } = rw16Cdb.decode(bytes, at);
  return { startBytes: wideLba(lbaHigh, lbaLow) * BLOCK_BYTES, sizeBytes: length * BLOCK_BYTES };
}
