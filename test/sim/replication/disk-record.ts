import { crc32c } from '../../../base/crc32c.ts';
import { LogCorruptionError } from '../../../base/record-log.ts';
import { damagedBlocksOf } from '../../../storage/lun/log-record.ts';

/** One record of a log, on a disk. */
export interface DiskRecord {
  readonly payload: Uint8Array;
  readonly position: number;
  /** Of the payload as it was written. */
  readonly crc: number;
  /** The payload as it was written, where a bit has turned over since. */
  readonly written?: Uint8Array;
}

export function isDamaged({ payload, crc, written }: DiskRecord): boolean {
  return written !== undefined && crc32c(payload) !== crc;
}

/** A log is opened with such damage all the same. */
export function isSalvaged({ payload, crc }: DiskRecord): boolean {
  return damagedBlocksOf(payload, { before: 0, whole: crc }) !== undefined;
}

export function corruption(index: number): LogCorruptionError {
  return new LogCorruptionError(`record ${index} is damaged`, { segment: '', offsetBytes: 0 });
}
