import { MAX_ATOMIC_WRITE_BLOCKS } from '../../storage/block-device.ts';
import {
  rw6Cdb,
  rw10Cdb,
  rw12Cdb,
  rw16Cdb,
  synchronizeCache10Cdb,
  synchronizeCache16Cdb,
  wideLba,
  writeAtomic16Cdb,
} from './cdb.ts';
import { MAX_TRANSFER_BLOCKS } from './limits.ts';
import { accept, type PreparedCommand, refuse } from './prepared-command.ts';
import { invalidCdbField, sense } from './sense.ts';

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

/** WRITE AND VERIFY: BYTCHK says whether the data is compared or only has to be readable (SBC-3 §5.36). */
export function prepareWriteAndVerify(range: MediaRange, unit: MediaUnit): PreparedCommand {
  const check = range.byteCheck;
  if (check !== byteCheck.none && check !== byteCheck.all) return refuse(invalidCdbField(1, 2));
  const command = prepareWrite(range, unit);
  if (command.kind !== 'write') return command;
  return { ...command, verify: check === byteCheck.all ? 'data' : 'medium' };
}

/** WRITE ATOMIC (16) (SBC-4 §5.48): no boundary within it, and short enough to be one piece for the device. */
export function prepareWriteAtomic(cdb: Uint8Array, at: number, unit: MediaUnit): PreparedCommand {
  const { protect, fua, lbaHigh, lbaLow, boundary, length } = writeAtomic16Cdb.decode(cdb, at);
  if (boundary !== 0) return refuse(invalidCdbField(10));
  const range = { protect, fua, byteCheck: 0, lba: wideLba(lbaHigh, lbaLow), lengthBlocks: length };
  if (length > MAX_ATOMIC_WRITE_BLOCKS) return refuse(invalidCdbField(12));
  return prepareWrite(range, unit);
}

/** BYTCHK (SBC-3 table 98): 0 no data, 1 all the data, 3 one block of data compared with each block. */
const byteCheck = { none: 0, all: 1, reserved: 2, one: 3 } as const;

export function prepareVerify(range: MediaRange, unit: MediaUnit): PreparedCommand {
  if (range.byteCheck === byteCheck.reserved) return refuse(invalidCdbField(1, 2));
  const refusal = refuseRange(range, unit, MAX_TRANSFER_BLOCKS);
  if (refusal !== undefined) return refusal;
  const { lba, lengthBlocks } = range;
  if (lengthBlocks === 0) return accept;
  if (range.byteCheck === byteCheck.none) return { kind: 'verify', lba, lengthBlocks };
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

export function refuseRange(
  range: Pick<MediaRange, 'protect' | 'lba' | 'lengthBlocks'>,
  unit: MediaUnit,
  maxBlocks: number,
): PreparedCommand | undefined {
  // No protection information is kept.
  if (range.protect !== 0) return refuse(invalidCdbField(1, 7));
  if (range.lba + range.lengthBlocks > unit.lengthBlocks) {
    return refuse({ ...sense.lbaOutOfRange, information: range.lba });
  }
  if (range.lengthBlocks > maxBlocks) return refuse(sense.invalidFieldInCdb);
  return undefined;
}
