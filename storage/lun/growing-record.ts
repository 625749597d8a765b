import type { Slab } from '../../base/slab-memory.ts';
import type { InFlightRecord } from './in-flight.ts';
import { MAX_JOINED_BLOCKS, STORED_BLOCK_BYTES } from './limits.ts';
import { type LoggedRecord, sealWriteRecord, writeHeaderBytes } from './log-record.ts';
import type { RecordMemory } from './record-memory.ts';

/** What names a record and what it is about. */
export interface RecordPlace {
  readonly index: number;
  readonly epoch: number;
  readonly lunId: number;
  readonly firstBlock: number;
}

/**
 * A write record that has its number and is yet to be handed to the log. Until then writes to the blocks that follow can
 * become part of it: what a record costs, here, in the file and on every other member, is paid once for all of them.
 *
 * Its header, which grows with every block, stands right before the data, in room left for the longest.
 */
export class GrowingRecord implements InFlightRecord, RecordPlace {
  readonly index: number;
  readonly epoch: number;
  readonly lunId: number;
  readonly firstBlock: number;
  /** What its memory is a part of; see LoggedRecord. */
  readonly slab: Slab | undefined;
  /** Holds the data of the blocks at `dataAt`, one after another. */
  readonly bytes: Uint8Array;
  readonly dataAt: number;
  readonly #memory: RecordMemory;
  #blockCount = 0;

  /** @param blockCount room for so many blocks, for the caller to fill and to add */
  constructor(place: RecordPlace, blockCount: number, memory: RecordMemory) {
    this.index = place.index;
    this.epoch = place.epoch;
    this.lunId = place.lunId;
    this.firstBlock = place.firstBlock;
    const headerBytes = writeHeaderBytes(Math.max(blockCount, MAX_JOINED_BLOCKS));
    const lengthBytes = headerBytes + blockCount * STORED_BLOCK_BYTES;
    const slab = memory.reserve(lengthBytes);
    this.slab = slab;
    this.bytes = slab === undefined ? new Uint8Array(lengthBytes) : slab.bytes;
    this.dataAt = (slab === undefined ? 0 : slab.usedBytes - lengthBytes) + headerBytes;
    this.#memory = memory;
  }

  get blockCount(): number {
    return this.#blockCount;
  }

  /** Where the next block goes. */
  get endAt(): number {
    return this.dataAt + this.#blockCount * STORED_BLOCK_BYTES;
  }

  /** @returns whether there is room for so many more blocks, at `endAt` */
  makeRoom(blockCount: number): boolean {
    const { slab } = this;
    if (slab === undefined || this.#blockCount + blockCount > MAX_JOINED_BLOCKS) return false;
    return this.#memory.extend(slab, this.endAt, blockCount * STORED_BLOCK_BYTES);
  }

  /** The next blocks have been put in place. */
  added(blockCount: number): void {
    this.#blockCount += blockCount;
  }

  /** Completes it; nothing may be added any more. */
  seal(): LoggedRecord {
    const { epoch, lunId, firstBlock, slab } = this;
    const blockCount = this.#blockCount;
    const payload = this.bytes.subarray(this.dataAt - writeHeaderBytes(blockCount), this.endAt);
    const checksum = sealWriteRecord(payload, { epoch, lunId, firstBlock, blockCount });
    return {
      payload,
      record: { kind: 'write', epoch, lunId, firstBlock, blockCount, payload },
      checksum,
      slab,
    };
  }
}
