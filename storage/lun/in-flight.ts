import { MAX_SETTLED_RECORDS, STORED_BLOCK_BYTES } from './limits.ts';

/** A record that has been given its place in the log and is not committed yet. */
export interface InFlightRecord {
  readonly index: number;
  readonly firstBlock: number;
  /** May grow. */
  readonly blockCount: number;
  /** Has the data of the blocks from `dataAt` on; undefined where they are given up. */
  readonly bytes: Uint8Array | undefined;
  readonly dataAt: number;
}

const ZERO_BLOCK = new Uint8Array(STORED_BLOCK_BYTES);
/** In place of one that has taken effect, so that its data is not held on to. */
const SETTLED: InFlightRecord = { index: 0, firstBlock: 0, blockCount: 0, bytes: undefined, dataAt: 0 };

/** What a record makes of one of its blocks. */
export function contentOf(record: InFlightRecord, block: number): Uint8Array {
  if (record.bytes === undefined) return ZERO_BLOCK;
  const at = record.dataAt + (block - record.firstBlock) * STORED_BLOCK_BYTES;
  return record.bytes.subarray(at, at + STORED_BLOCK_BYTES);
}

/**
 * What is on its way into the log for one LUN, in the order of the log; only a primary has any. There are no more
 * than initiators may have outstanding, and most of the time nobody asks: hence a list, and no table by block.
 */
export class InFlightRecords {
  #records: InFlightRecord[] = [];
  #head = 0;

  get size(): number {
    return this.#records.length - this.#head;
  }

  /** @param record with a number higher than any before */
  note(record: InFlightRecord): void {
    this.#records.push(record);
  }

  /** Records up to `index` have taken effect. */
  settle(index: number): void {
    const records = this.#records;
    let head = this.#head;
    while (head < records.length && (records[head] as InFlightRecord).index <= index)
      records[head++] = SETTLED;
    if (head === records.length) {
      if (head > 0) this.#records = [];
      this.#head = 0;
    } else if (head > MAX_SETTLED_RECORDS) {
      this.#records = records.slice(head);
      this.#head = 0;
    } else {
      this.#head = head;
    }
  }

  /** Records from `fromIndex` on will not be appended: what is in flight underneath counts again. */
  forget(fromIndex: number): void {
    const records = this.#records;
    while (records.length > this.#head && (records.at(-1) as InFlightRecord).index >= fromIndex)
      records.pop();
  }

  has(block: number): boolean {
    return this.newest(block) !== undefined;
  }

  /** The newest record that has the block. */
  newest(block: number): InFlightRecord | undefined {
    for (let i = this.#records.length - 1; i >= this.#head; i--) {
      const record = this.#records[i] as InFlightRecord;
      if (block >= record.firstBlock && block < record.firstBlock + record.blockCount) return record;
    }
    return undefined;
  }
}
