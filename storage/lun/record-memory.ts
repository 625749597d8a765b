import { MAX_FREE_SLABS, RECORD_SLAB_BYTES } from './limits.ts';

/** One piece of memory from which records are cut in order. */
export interface RecordSlab {
  readonly bytes: Uint8Array;
  usedBytes: number;
  /** Records cut from it and not given back; one counts twice where two will give it back. */
  records: number;
}

export interface RecordBytes {
  readonly bytes: Uint8Array;
  /** Undefined for one too long for a slab. */
  readonly slab: RecordSlab | undefined;
}

/**
 * Memory for records on their way into the log. Fresh memory costs a page fault for each 4 KiB, which is as much as
 * all else that is done to a write of a block; used again at once, it is still in the processor's cache.
 */
export class RecordMemory {
  #slab: RecordSlab | undefined;
  readonly #free: RecordSlab[] = [];

  /** Bytes whose content is stale. */
  take(lengthBytes: number): RecordBytes {
    if (lengthBytes > RECORD_SLAB_BYTES) return { bytes: new Uint8Array(lengthBytes), slab: undefined };
    let slab = this.#slab;
    if (slab === undefined || slab.usedBytes + lengthBytes > RECORD_SLAB_BYTES) {
      slab = this.#free.pop() ?? newSlab();
      this.#slab = slab;
    }
    const at = slab.usedBytes;
    slab.usedBytes += lengthBytes;
    slab.records++;
    return { bytes: slab.bytes.subarray(at, at + lengthBytes), slab };
  }

  /** One of those who look at one of the slab's records looks at it no more. */
  giveBack(slab: RecordSlab): void {
    slab.records--;
    if (slab.records > 0) return;
    slab.usedBytes = 0;
    if (slab !== this.#slab && this.#free.length < MAX_FREE_SLABS) this.#free.push(slab);
  }
}

function newSlab(): RecordSlab {
  return { bytes: new Uint8Array(RECORD_SLAB_BYTES), usedBytes: 0, records: 0 };
}
