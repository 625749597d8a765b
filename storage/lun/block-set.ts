const BLOCKS_PER_PAGE = 32_768;

/** A set of block numbers, as bits in pages that exist where there are any. */
export class BlockSet {
  readonly #pages = new Map<number, Uint8Array>();

  add(firstBlock: number, blockCount: number): void {
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      const page = this.#page(block, true) as Uint8Array;
      page[byteOf(block)] = (page[byteOf(block)] as number) | bitOf(block);
    }
  }

  remove(firstBlock: number, blockCount: number): void {
    if (this.#pages.size === 0) return;
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      const page = this.#page(block, false);
      if (page !== undefined) page[byteOf(block)] = (page[byteOf(block)] as number) & ~bitOf(block);
    }
  }

  get size(): number {
    let count = 0;
    for (const page of this.#pages.values()) {
      for (const byte of page) for (let bits = byte; bits !== 0; bits &= bits - 1) count++;
    }
    return count;
  }

  #page(block: number, make: boolean): Uint8Array | undefined {
    const number = Math.floor(block / BLOCKS_PER_PAGE);
    let page = this.#pages.get(number);
    if (page === undefined && make) {
      page = new Uint8Array(BLOCKS_PER_PAGE / 8);
      this.#pages.set(number, page);
    }
    return page;
  }
}

function byteOf(block: number): number {
  return (block % BLOCKS_PER_PAGE) >> 3;
}

function bitOf(block: number): number {
  return 1 << (block & 7);
}
