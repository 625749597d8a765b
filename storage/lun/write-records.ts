import { invariant } from '../../base/errors.ts';
import { GrowingRecord } from './growing-record.ts';
import { MAX_BLOCKS_PER_RECORD, STORED_BLOCK_BYTES } from './limits.ts';
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

/**
 * Copies the data of a write once, into records as they will stand in the log.
 * @param firstIndex the number that the first of them will have
 * @returns the records, of which the last may still be joined by what follows
 */
export function growRecords(write: WriteToBuild, memory: RecordMemory, firstIndex: number): GrowingRecord[] {
  const { epoch, lunId } = write;
  const endBlock = Math.ceil((write.startByte + write.lengthBytes) / STORED_BLOCK_BYTES);
  const records: GrowingRecord[] = [];
  const source = new PartCursor(write.parts);
  let firstBlock = Math.floor(write.startByte / STORED_BLOCK_BYTES);
  while (firstBlock < endBlock) {
    const blockCount = Math.min(MAX_BLOCKS_PER_RECORD, endBlock - firstBlock);
    const place = { index: firstIndex + records.length, epoch, lunId, firstBlock };
    const record = new GrowingRecord(place, blockCount, memory);
    layBlocks(record, write, blockCount, source);
    records.push(record);
    firstBlock += blockCount;
  }
  return records;
}

/**
 * Makes a write part of a record that was begun for one before it, where its blocks are the next on the disk.
 * @returns false where it needs records of its own; nothing has happened then
 */
export function joinRecord(record: GrowingRecord, write: WriteToBuild): boolean {
  const { lunId, epoch, startByte, lengthBytes } = write;
  if (lunId !== record.lunId || epoch !== record.epoch) return false;
  const firstBlock = Math.floor(startByte / STORED_BLOCK_BYTES);
  const blockCount = Math.ceil((startByte + lengthBytes) / STORED_BLOCK_BYTES) - firstBlock;
  if (firstBlock !== record.firstBlock + record.blockCount || !record.makeRoom(blockCount)) return false;
  layBlocks(record, write, blockCount, new PartCursor(write.parts));
  return true;
}

/** Puts what a write makes of the next blocks of a record in their place there. */
function layBlocks(record: GrowingRecord, write: WriteToBuild, blockCount: number, source: PartCursor): void {
  const { bytes, endAt } = record;
  const firstBlock = record.firstBlock + record.blockCount;
  for (const underlay of write.underlays) {
    const i = underlay.block - firstBlock;
    if (i >= 0 && i < blockCount) bytes.set(underlay.bytes, endAt + i * STORED_BLOCK_BYTES);
  }
  const firstByte = firstBlock * STORED_BLOCK_BYTES;
  const from = Math.max(write.startByte - firstByte, 0);
  const to = Math.min(write.startByte + write.lengthBytes - firstByte, blockCount * STORED_BLOCK_BYTES);
  source.copyTo(bytes, endAt + from, endAt + to);
  record.added(blockCount);
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
