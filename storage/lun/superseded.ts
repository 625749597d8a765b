import type { LogRecord } from '../../base/record-log.ts';
import { STORED_BLOCK_BYTES } from './limits.ts';
import {
  type DiscardRecord,
  decodeGroupRecord,
  encodeControlRecord,
  type WriteRecord,
  writeHeaderBytes,
} from './log-record.ts';
import type { LunTable } from './lun-table.ts';

/** The end of what no loss of power can take away any more. */
export interface DurableEnd {
  /** Of the first record beyond. */
  readonly index: number;
  /** Nothing of the records before lies at or after this position. */
  readonly position: number;
}

/**
 * What can stand in for a record of which nothing is in use, because records before `until` have superseded all of it.
 * @returns undefined when something of it is in use, or may be again should records from `until` on be lost
 */
export function voidFor(
  table: LunTable,
  { index, position, payload }: LogRecord,
  until: DurableEnd,
): Uint8Array | undefined {
  if (index >= table.appliedIndex) return undefined;
  const record = decodeGroupRecord(payload);
  // Others are small, or say who wrote what follows.
  if (record.kind !== 'write' && record.kind !== 'discard') return undefined;
  if (!isSuperseded(table, index, position, record, until)) return undefined;
  const { epoch, lunId, firstBlock, blockCount } = record;
  const instead = { lunId, firstBlock, blockCount };
  return encodeControlRecord({ kind: 'void', epoch, untilIndex: until.index, instead });
}

function isSuperseded(
  table: LunTable,
  index: number,
  position: number,
  record: WriteRecord | DiscardRecord,
  until: DurableEnd,
): boolean {
  const lun = table.get(record.lunId);
  if (lun === undefined) return table.lastDropIndex < until.index;
  if (index < lun.description.generation) return lun.description.generation < until.index;
  const dataAt = record.kind === 'write' ? position + writeHeaderBytes(record.blockCount) : 0;
  for (let i = 0; i < record.blockCount; i++) {
    const at = record.kind === 'write' ? dataAt + i * STORED_BLOCK_BYTES : position;
    const newest = Math.abs(lun.blocks.position(record.firstBlock + i));
    if (newest <= at || newest >= until.position) return false;
  }
  return true;
}
