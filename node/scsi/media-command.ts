import {
  rw6Cdb,
  rw10Cdb,
  rw12Cdb,
  rw16Cdb,
  synchronizeCache10Cdb,
  synchronizeCache16Cdb,
  wideLba,
} from './cdb.ts';
import { MAX_TRANSFER_BLOCKS } from './limits.ts';
import { accept, type PreparedCommand, refuse } from './prepared-command.ts';
import { sense } from './sense.ts';

/** READ, WRITE, VERIFY and SYNCHRONIZE CACHE in their several widths (SBC-3 §5). Checks only; no I/O. */

export interface MediaRange {
  readonly protect: number;
  readonly fua: boolean;
  readonly byteCheck: number;
  readonly lba: number;
  readonly lengthBlocks: number;
}

export interface MediaUnit {
  readonly lengthBlocks: number;
  readonly readOnly: boolean;
}

export function range6(cdb: Uint8Array, at: number): MediaRange {
  const { lbaHigh, lbaLow, length } = rw6Cdb.decode(cdb, at);
  const lengthBlocks = length === 0 ? 256 : length;
  return { protect: 0, fua: false, byteCheck: 0, lba: lbaHigh * 0x1_0000 + lbaLow, lengthBlocks };
}

export function range10(cdb: Uint8Array, at: number): MediaRange {
  const { protect, fua, byteCheck, lba, length } = rw10Cdb.decode(cdb, at);
  return { protect, fua, byteCheck, lba, lengthBlocks: length };
}

export function range12(cdb: Uint8Array, at: number): MediaRange {
  const { protect, fua, byteCheck, lba, length } = rw12Cdb.decode(cdb, at);
  return { protect, fua, byteCheck, lba, lengthBlocks: length };
}

export function range16(cdb: Uint8Array, at: number): MediaRange {
  const { protect, fua, byteCheck, lbaHigh, lbaLow, length } = rw16Cdb.decode(cdb, at);
  return { protect, fua, byteCheck, lba: wideLba(lbaHigh, lbaLow), lengthBlocks: length };
}

export function prepareRead(range: MediaRange, unit: MediaUnit): PreparedCommand {
  const refusal = refuseRange(range, unit, MAX_TRANSFER_BLOCKS);
  if (refusal !== undefined) return refusal;
  if (range.lengthBlocks === 0) return accept;
  return { kind: 'read', lba: range.lba, lengthBlocks: range.lengthBlocks, forceUnitAccess: range.fua };
}

export function prepareWrite(range: MediaRange, unit: MediaUnit): PreparedCommand {
  const refusal = refuseRange(range, unit, MAX_TRANSFER_BLOCKS);
  if (refusal !== undefined) return refusal;
  if (unit.readOnly) return refuse(sense.writeProtected);
  if (range.lengthBlocks === 0) return accept;
  return { kind: 'write', lba: range.lba, lengthBlocks: range.lengthBlocks, forceUnitAccess: range.fua };
}

/** BYTCHK (SBC-3 table 98): 0 no data, 1 all the data, 3 one block of data compared with each block. */
const byteCheck = { none: 0, all: 1, reserved: 2, one: 3 } as const;

export function prepareVerify(range: MediaRange, unit: MediaUnit): PreparedCommand {
  if (range.byteCheck === byteCheck.reserved) return refuse(sense.invalidFieldInCdb);
  const withData = range.byteCheck !== byteCheck.none;
  const refusal = refuseRange(range, unit, withData ? MAX_TRANSFER_BLOCKS : Number.POSITIVE_INFINITY);
  if (refusal !== undefined) return refusal;
  const { lba, lengthBlocks } = range;
  if (lengthBlocks === 0) return accept;
  if (!withData) return { kind: 'verify', lba, lengthBlocks };
  return { kind: 'compare', lba, lengthBlocks, repeated: range.byteCheck === byteCheck.one };
}

export function prepareSynchronizeCache10(cdb: Uint8Array, at: number, unit: MediaUnit): PreparedCommand {
  const { lba, length } = synchronizeCache10Cdb.decode(cdb, at);
  return prepareSynchronizeCache(lba, length, unit);
}

export function prepareSynchronizeCache16(cdb: Uint8Array, at: number, unit: MediaUnit): PreparedCommand {
  const { lbaHigh, lbaLow, length } = synchronizeCache16Cdb.decode(cdb, at);
  return prepareSynchronizeCache(wideLba(lbaHigh, lbaLow), length, unit);
}

/** The range is only checked: the whole unit is flushed. IMMED is ignored, which is allowed and safe. */
function prepareSynchronizeCache(lba: number, lengthBlocks: number, unit: MediaUnit): PreparedCommand {
  return lba + lengthBlocks > unit.lengthBlocks ? refuse(sense.lbaOutOfRange) : { kind: 'flush' };
}

function refuseRange(range: MediaRange, unit: MediaUnit, maxBlocks: number): PreparedCommand | undefined {
  // No protection information is kept.
  if (range.protect !== 0) return refuse(sense.invalidFieldInCdb);
  if (range.lba + range.lengthBlocks > unit.lengthBlocks) {
    return refuse({ ...sense.lbaOutOfRange, information: range.lba });
  }
  if (range.lengthBlocks > maxBlocks) return refuse(sense.invalidFieldInCdb);
  return undefined;
}
