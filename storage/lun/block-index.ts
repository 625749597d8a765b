import { INDEX_PAGE_BLOCKS } from './limits.ts';

interface Page {
  readonly positions: Float64Array;
  readonly crcs: Uint32Array;
}

/**
 * Where in the log each written block of a LUN lies, with its checksum: 12 bytes a block, in pages that
 * come into being with their first block. Log positions reach past 2^32, hence doubles (exact to 2^53).
 */
export class BlockIndex {
  readonly #pages = new Map<number, Page>();
  #writtenBlocks = 0;

  get writtenBlocks(): number {
    return this.#writtenBlocks;
  }

  /** @param position of the block's first byte; never 0, since a record's header comes before it */
  set(block: number, position: number, crc: number): void {
    const pageNumber = Math.floor(block / INDEX_PAGE_BLOCKS);
    let page = this.#pages.get(pageNumber);
    if (page === undefined) {
      page = {
        positions: new Float64Array(INDEX_PAGE_BLOCKS),
        crcs: new Uint32Array(INDEX_PAGE_BLOCKS),
      };
      this.#pages.set(pageNumber, page);
    }
    const slot = block % INDEX_PAGE_BLOCKS;
    if (page.positions[slot] === 0) this.#writtenBlocks++;
    page.positions[slot] = position;
    page.crcs[slot] = crc;
  }

  /** @returns 0 for a block never written */
  position(block: number): number {
    const page = this.#pages.get(Math.floor(block / INDEX_PAGE_BLOCKS));
    return page === undefined ? 0 : (page.positions[block % INDEX_PAGE_BLOCKS] as number);
  }

  /** Only meaningful for a written block. */
  crc(block: number): number {
    const page = this.#pages.get(Math.floor(block / INDEX_PAGE_BLOCKS));
    return page === undefined ? 0 : (page.crcs[block % INDEX_PAGE_BLOCKS] as number);
  }

  /** The smallest position in use; Infinity when nothing is written. Looks at every page. */
  lowestPosition(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { positions } of this.#pages.values()) {
      for (let i = 0; i < INDEX_PAGE_BLOCKS; i++) {
        const position = positions[i] as number;
        if (position !== 0 && position < lowest) lowest = position;
      }
    }
    return lowest;
  }
}
