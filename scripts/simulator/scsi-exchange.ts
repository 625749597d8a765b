import {
  inquiryCdb,
  readCapacity16Cdb,
  rw16Cdb,
  opcode as scsiOpcode,
  unmapCdb,
} from '../../node/scsi/cdb.ts';
import { capacity16 } from '../../node/scsi/parameter-command.ts';
import { unmapDescriptor, unmapHeader } from '../../node/scsi/provisioning-command.ts';

const UNIT_ATTENTION = 6;
const BLOCK_BYTES = 512;
const INQUIRY_BYTES = 255;

/** One SCSI command as an initiator sees it. */

export interface ScsiReply {
  readonly status: number;
  /** Fixed format sense data, empty unless the status is CHECK CONDITION. */
  readonly sense: Uint8Array;
  readonly data: Uint8Array;
  /** Positive: more data than was expected; negative: less. */
  readonly residual: number;
}

/** A command ended with something else than GOOD. */
export class ScsiStatusError extends Error {
  readonly reply: ScsiReply;

  constructor(what: string, reply: ScsiReply) {
    const { status, sense } = reply;
    const hex = (n: number | undefined): string => (n ?? 0).toString(16).padStart(2, '0');
    super(
      `${what} ended with status 0x${hex(status)}, sense ${hex((sense[2] ?? 0) & 15)}/${hex(sense[12])}/${hex(sense[13])}`,
    );
    this.name = 'ScsiStatusError';
    this.reply = reply;
  }
}

export interface ScsiRequest {
  readonly cdb: Uint8Array;
  /** Bytes expected from the target. */
  readonly readBytes?: number;
  /** Data for the target; `writeBytes` overrides the length announced. */
  readonly write?: Uint8Array;
  readonly writeBytes?: number;
  readonly lun?: number;
  /** Task attribute; simple where it is left out. */
  readonly attribute?: number;
}

/** The CDB of READ (16) or WRITE (16). */
function rw16(code: number, lba: number, length: number, fua: boolean): Uint8Array {
  const lbaHigh = Math.floor(lba / 0x1_0000_0000);
  const cdb = rw16Cdb.encode({ fua, lbaHigh, lbaLow: lba >>> 0, length });
  cdb[0] = code;
  return cdb;
}

export function readRequest(lba: number, lengthBytes: number): ScsiRequest {
  return { cdb: rw16(scsiOpcode.read16, lba, lengthBytes / BLOCK_BYTES, false), readBytes: lengthBytes };
}

export function writeRequest(lba: number, data: Uint8Array, forceUnitAccess: boolean): ScsiRequest {
  return { cdb: rw16(scsiOpcode.write16, lba, data.length / BLOCK_BYTES, forceUnitAccess), write: data };
}

export function readCapacityRequest(): ScsiRequest {
  const cdb = readCapacity16Cdb.encode({ serviceAction: 0x10, allocationLength: capacity16.sizeBytes });
  cdb[0] = scsiOpcode.serviceActionIn16;
  return { cdb, readBytes: capacity16.sizeBytes };
}

/** UNMAP (SBC-3 §5.28) of one range. */
export function unmapRequest(lba: number, blocks: number): ScsiRequest {
  const list = new Uint8Array(unmapHeader.sizeBytes + unmapDescriptor.sizeBytes);
  list.set(
    // The length of the list does not count the field that holds it (SBC-3 table 94).
    unmapHeader.encode({ dataLength: list.length - 2, descriptorsLength: unmapDescriptor.sizeBytes }),
  );
  const lbaHigh = Math.floor(lba / 0x1_0000_0000);
  list.set(unmapDescriptor.encode({ lbaHigh, lbaLow: lba >>> 0, length: blocks }), unmapHeader.sizeBytes);
  const cdb = unmapCdb.encode({ parameterListLength: list.length });
  cdb[0] = scsiOpcode.unmap;
  return { cdb, write: list };
}

/** SYNCHRONIZE CACHE (10) of the whole unit. */
export function flushRequest(): ScsiRequest {
  const cdb = new Uint8Array(10);
  cdb[0] = scsiOpcode.synchronizeCache10;
  return { cdb };
}

/** INQUIRY for the standard data, or for a VPD page. */
export function inquiryRequest(pageCode: number | undefined): ScsiRequest {
  const evpd = pageCode !== undefined;
  const cdb = inquiryCdb.encode({ evpd, pageCode: pageCode ?? 0, allocationLength: INQUIRY_BYTES });
  cdb[0] = scsiOpcode.inquiry;
  return { cdb, readBytes: INQUIRY_BYTES };
}

export function isUnitAttention({ sense }: ScsiReply): boolean {
  return ((sense[2] ?? 0) & 15) === UNIT_ATTENTION;
}
