import { STORED_BLOCK_BYTES } from './limits.ts';
import {
  blockOfWrite,
  crcOfWrite,
  type DiscardRecord,
  type GroupRecord,
  type LoggedRecord,
  loggedControl,
  sealWriteRecord,
  type WriteRecord,
  writeHeaderBytes,
  writeRecordBytes,
} from './log-record.ts';
import type { Lun, LunTable } from './lun-table.ts';

/**
 * What of a record at `position` is still the newest content of its blocks, as records of their own that say the
 * same. Nothing of a block that something newer is on its way to, nor of a LUN about to be reset: should that
 * newer record never be appended, the block is still needed where it is, and the log keeps it.
 * @param epoch the records are to carry
 */
export function liveParts(
  table: LunTable,
  position: number,
  record: GroupRecord,
  epoch: number,
): LoggedRecord[] {
  if (record.kind !== 'write' && record.kind !== 'discard') return [];
  const lun = table.get(record.lunId);
  if (lun === undefined || lun.endingIndex !== Number.POSITIVE_INFINITY) return [];
  const isWrite = record.kind === 'write';
  const dataAt = isWrite ? position + writeHeaderBytes(record.blockCount) : 0;
  const isLive = (i: number): boolean => {
    const block = record.firstBlock + i;
    const at = isWrite ? dataAt + i * STORED_BLOCK_BYTES : -position;
    return lun.blocks.position(block) === at && !lun.inFlight.has(block);
  };
  const parts: LoggedRecord[] = [];
  for (let from = 0; from < record.blockCount; ) {
    if (!isLive(from)) {
      from++;
      continue;
    }
    let to = from + 1;
    while (to < record.blockCount && isLive(to)) to++;
    const part = isWrite ? rewritten(lun, record, from, to, epoch) : discarded(record, from, to, epoch);
    if (part !== undefined) parts.push(part);
    from = to;
  }
  return parts;
}

/** @returns undefined when a block is damaged: its checksum is not to be made right */
function rewritten(
  lun: Lun,
  record: WriteRecord,
  from: number,
  to: number,
  epoch: number,
): LoggedRecord | undefined {
  const blockCount = to - from;
  const payload = Buffer.allocUnsafe(writeRecordBytes(blockCount));
  for (let i = 0; i < blockCount; i++) {
    const block = blockOfWrite(record.payload, record.blockCount, from + i);
    blockOfWrite(payload, blockCount, i).set(block);
  }
  const firstBlock = record.firstBlock + from;
  const { lunId } = record;
  const checksum = sealWriteRecord(payload, { epoch, lunId, firstBlock, blockCount });
  for (let i = 0; i < blockCount; i++) {
    if (crcOfWrite(payload, i) !== lun.blocks.crc(firstBlock + i)) return undefined;
  }
  return { payload, record: { kind: 'write', epoch, lunId, firstBlock, blockCount, payload }, checksum };
}

function discarded(record: DiscardRecord, from: number, to: number, epoch: number): LoggedRecord {
  const { lunId, firstBlock } = record;
  return loggedControl({
    kind: 'discard',
    epoch,
    lunId,
    firstBlock: firstBlock + from,
    blockCount: to - from,
  });
}
