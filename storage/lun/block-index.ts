import { INDEX_PAGE_BLOCKS, MAX_DISCARD_BLOCKS } from './limits.ts';

interface Page {
  readonly positions: Float64Array;
  readonly crcs: Uint32Array;
}

interface Span {
  /** Of the record that gave all of it up, negated. */
  readonly position: number;
  /** Pages made since, which stand above it; when there are all, nothing is left of it. */
  pages: number;
}

const PAGES_PER_SPAN = MAX_DISCARD_BLOCKS / INDEX_PAGE_BLOCKS;

/**
 * Where in the log each written block of a LUN lies, with its checksum: 12 bytes a block, in pages that
 * come into being with their first block. Log positions reach past 2^32, hence doubles (exact to 2^53).
 *
 * A block given up reads as zeros although the base image may have something else there. It is known by the
 * position of the record that gave it up, negated: the log must keep that record for as long as the block is
 * not written again. Where a whole span was given up, one number stands for all its blocks.
 */
export class BlockIndex {
  readonly #pages = new Map<number, Page>();
  readonly #spans = new Map<number, Span>();
  #writtenBlocks = 0;

  get writtenBlocks(): number {
    return this.#writtenBlocks;
  }

  /** @param position of the block's first byte; never 0, since a record's header comes before it */
  set(block: number, position: number, crc: number): void {
    const page = this.#page(Math.floor(block / INDEX_PAGE_BLOCKS));
    const slot = block % INDEX_PAGE_BLOCKS;
    if ((page.positions[slot] as number) <= 0) this.#writtenBlocks++;
    page.positions[slot] = position;
    page.crcs[slot] = crc;
  }

  /** Gives blocks up. @param position of the record that says so */
  discard(firstBlock: number, blockCount: number, position: number): void {
    const endBlock = firstBlock + blockCount;
    for (let block = firstBlock; block < endBlock; ) {
      const spanNumber = Math.floor(block / MAX_DISCARD_BLOCKS);
      const spanEnd = Math.min(endBlock, (spanNumber + 1) * MAX_DISCARD_BLOCKS);
      if (spanEnd - block === MAX_DISCARD_BLOCKS) this.#discardSpan(spanNumber, position);
      else this.#discardBlocks(block, spanEnd, position);
      block = spanEnd;
    }
  }

  #discardSpan(spanNumber: number, position: number): void {
    const firstPage = spanNumber * PAGES_PER_SPAN;
    for (let pageNumber = firstPage; pageNumber < firstPage + PAGES_PER_SPAN; pageNumber++) {
      const page = this.#pages.get(pageNumber);
      if (page === undefined) continue;
      for (const at of page.positions) if (at > 0) this.#writtenBlocks--;
      this.#pages.delete(pageNumber);
    }
    this.#spans.set(spanNumber, { position: -position, pages: 0 });
  }

  #discardBlocks(firstBlock: number, endBlock: number, position: number): void {
    for (let block = firstBlock; block < endBlock; block++) {
      const page = this.#page(Math.floor(block / INDEX_PAGE_BLOCKS));
      const slot = block % INDEX_PAGE_BLOCKS;
      if ((page.positions[slot] as number) > 0) this.#writtenBlocks--;
      page.positions[slot] = -position;
    }
  }

  #page(pageNumber: number): Page {
    let page = this.#pages.get(pageNumber);
    if (page === undefined) {
      page = {
        positions: new Float64Array(INDEX_PAGE_BLOCKS),
        crcs: new Uint32Array(INDEX_PAGE_BLOCKS),
      };
      if (this.#spans.size > 0) this.#coverSpan(pageNumber, page);
      this.#pages.set(pageNumber, page);
    }
    return page;
  }

  /** The page takes over what its span said of its blocks. */
  #coverSpan(pageNumber: number, page: Page): void {
    const spanNumber = Math.floor(pageNumber / PAGES_PER_SPAN);
    const span = this.#spans.get(spanNumber);
    if (span === undefined) return;
    page.positions.fill(span.position);
    // Else a span that no block goes by any more would hold on to the log.
    if (++span.pages === PAGES_PER_SPAN) this.#spans.delete(spanNumber);
  }

  #spanOf(pageNumber: number): number {
    return this.#spans.get(Math.floor(pageNumber / PAGES_PER_SPAN))?.position ?? 0;
  }

  /** @returns 0 for a block never written, and less for one given up */
  position(block: number): number {
    const pageNumber = Math.floor(block / INDEX_PAGE_BLOCKS);
    const page = this.#pages.get(pageNumber);
    if (page !== undefined) return page.positions[block % INDEX_PAGE_BLOCKS] as number;
    return this.#spans.size === 0 ? 0 : this.#spanOf(pageNumber);
  }

  /** Only meaningful for a written block. */
  crc(block: number): number {
    const page = this.#pages.get(Math.floor(block / INDEX_PAGE_BLOCKS));
    return page === undefined ? 0 : (page.crcs[block % INDEX_PAGE_BLOCKS] as number);
  }

  /** How many blocks from `block` on, at most `limitBlocks`, are written, never written, or given up as it is. */
  runLength(block: number, limitBlocks: number): number {
    const kind = Math.sign(this.position(block));
    let next = block + 1;
    while (next < block + limitBlocks) {
      const pageNumber = Math.floor(next / INDEX_PAGE_BLOCKS);
      if (Math.sign(this.position(next)) !== kind) break;
      next = this.#pages.has(pageNumber) ? next + 1 : (pageNumber + 1) * INDEX_PAGE_BLOCKS;
    }
    return Math.min(next - block, limitBlocks);
  }

  /** The smallest position of a record in use; Infinity when there is none. Looks at every page. */
  lowestPosition(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { positions } of this.#pages.values()) {
      for (let i = 0; i < INDEX_PAGE_BLOCKS; i++) {
        const position = Math.abs(positions[i] as number);
        if (position !== 0 && position < lowest) lowest = position;
      }
    }
    for (const { position } of this.#spans.values()) lowest = Math.min(lowest, -position);
    return lowest;
  }
}
