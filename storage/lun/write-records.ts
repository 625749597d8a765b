import { invariant } from '../../base/errors.ts';
import { MAX_BLOCKS_PER_RECORD, STORED_BLOCK_BYTES } from './limits.ts';
import {
  blockOfWrite,
  type LoggedRecord,
  sealWriteRecord,
  writeHeaderBytes,
  writeRecordBytes,
} from './log-record.ts';
import type { RecordMemory } from './record-memory.ts';

export interface WriteToBuild {
  readonly epoch: number;
  readonly lunId: number;
  readonly startByte: number;
  readonly lengthBytes: number;
  /** Add up to the length. */
  readonly parts: readonly Uint8Array[];
  /** The content under blocks that the write covers in part. */
  readonly underlays: readonly { readonly block: number; readonly bytes: Uint8Array }[];
}

/** Copies the data of a write once, into records as they will stand in the log. */
export function buildWriteRecords(write: WriteToBuild, memory: RecordMemory): LoggedRecord[] {
  const { epoch, lunId, startByte } = write;
  const endByte = startByte + write.lengthBytes;
  const endBlock = Math.ceil(endByte / STORED_BLOCK_BYTES);
  const records: LoggedRecord[] = [];
  const source = new PartCursor(write.parts);
  let firstBlock = Math.floor(startByte / STORED_BLOCK_BYTES);
  while (firstBlock < endBlock) {
    const blockCount = Math.min(MAX_BLOCKS_PER_RECORD, endBlock - firstBlock);
    const { bytes: payload, slab } = memory.take(writeRecordBytes(blockCount));
    for (const underlay of write.underlays) {
      const i = underlay.block - firstBlock;
      if (i >= 0 && i < blockCount) blockOfWrite(payload, blockCount, i).set(underlay.bytes);
    }
    const recordStart = firstBlock * STORED_BLOCK_BYTES;
    const from = Math.max(startByte, recordStart) - recordStart;
    const to = Math.min(endByte, recordStart + blockCount * STORED_BLOCK_BYTES) - recordStart;
    const header = writeHeaderBytes(blockCount);
    source.copyTo(payload, header + from, header + to);
    const checksum = sealWriteRecord(payload, { epoch, lunId, firstBlock, blockCount });
    const record = { kind: 'write', epoch, lunId, firstBlock, blockCount, payload } as const;
    records.push({ payload, record, checksum, slab });
    firstBlock += blockCount;
  }
  return records;
}

/** Takes bytes in order out of several parts. */
class PartCursor {
  readonly #parts: readonly Uint8Array[];
  #part = 0;
  #offset = 0;

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
  }

  copyTo(target: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const part = this.#parts[this.#part];
      invariant(part !== undefined, 'the parts add up to the range');
      const take = Math.min(part.length - this.#offset, end - at);
      const whole = take === part.length;
      target.set(whole ? part : part.subarray(this.#offset, this.#offset + take), at);
      at += take;
      this.#offset += take;
      if (this.#offset === part.length) {
        this.#part++;
        this.#offset = 0;
      }
    }
  }
}
