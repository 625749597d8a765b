/** One piece of memory from which parts are cut in order. */
export interface Slab {
  readonly bytes: Uint8Array;
  usedBytes: number;
  /** Parts cut from it and not given back; one counts twice where two will give it back. */
  parts: number;
}

export interface SlabPart {
  readonly bytes: Uint8Array;
  /** Undefined for one too long for a slab. */
  readonly slab: Slab | undefined;
}

/**
 * Memory that is used again. Fresh memory costs a page fault for each 4 KiB, and is counted by the garbage collector,
 * which comes the sooner; used again at once, it is still in the processor's cache. A part that is never given back
 * is no leak: its slab is left to the collector.
 */
export class SlabMemory {
  readonly #slabBytes: number;
  readonly #maxFree: number;
  #slab: Slab | undefined;
  readonly #free: Slab[] = [];

  /** @param maxFree slabs that wait to be used again, beside the one in use */
  constructor(slabBytes: number, maxFree: number) {
    this.#slabBytes = slabBytes;
    this.#maxFree = maxFree;
  }

  /** Bytes whose content is stale. */
  take(lengthBytes: number): SlabPart {
    const slab = this.reserve(lengthBytes);
    if (slab === undefined) return { bytes: new Uint8Array(lengthBytes), slab };
    return { bytes: slab.bytes.subarray(slab.usedBytes - lengthBytes, slab.usedBytes), slab };
  }

  /**
   * The same without a view of it, which takes as long to make as all else.
   * @returns the slab of whose used bytes it is the last; undefined for one too long for a slab
   */
  reserve(lengthBytes: number): Slab | undefined {
    if (lengthBytes > this.#slabBytes) return undefined;
    let slab = this.#slab;
    if (slab === undefined || slab.usedBytes + lengthBytes > this.#slabBytes) {
      slab = this.#free.pop() ?? this.#newSlab();
      this.#slab = slab;
    }
    slab.usedBytes += lengthBytes;
    slab.parts++;
    return slab;
  }

  /**
   * Makes the part that was taken last longer, where it is.
   * @param endAt where in the slab it ends
   * @returns false where it is not the last, or there is no room behind it
   */
  extend(slab: Slab, endAt: number, byBytes: number): boolean {
    const isLast = slab === this.#slab && slab.usedBytes === endAt;
    if (!isLast || endAt + byBytes > this.#slabBytes) return false;
    slab.usedBytes += byBytes;
    return true;
  }

  /** One of those who look at one of the slab's parts looks at it no more. */
  giveBack(slab: Slab): void {
    slab.parts--;
    if (slab.parts > 0) return;
    slab.usedBytes = 0;
    if (slab !== this.#slab && this.#free.length < this.#maxFree) this.#free.push(slab);
  }

  #newSlab(): Slab {
    // Not a Buffer, of which views take longer to make.
    return { bytes: new Uint8Array(this.#slabBytes), usedBytes: 0, parts: 0 };
  }
}
