import { BlockTree, type TreeSnapshot } from './block-tree.ts';
import { type Extent, GivenUp } from './given-up.ts';

/** What an index held at one moment. To be released once it is not needed any more. */
export interface IndexSnapshot {
  readonly written: TreeSnapshot;
  readonly givenUp: readonly Extent[];
}

/**
 * Where in the log each written block of a LUN lies, with its checksum: 14 bytes a block and less than two more for
 * what holds them, wherever on the disk the blocks are.
 *
 * A block given up reads as zeros although the base image may have something else there. It is known by the
 * position of the record that gave it up, negated: the log must keep that record for as long as the block is
 * not written again. Blocks given up by one record are one entry, however many they are.
 */
export class BlockIndex {
  readonly #written = new BlockTree();
  /** What is written counts, whatever stands here of the same block. */
  readonly #givenUp = new GivenUp();

  get writtenBlocks(): number {
    return this.#written.size;
  }

  /** @param position of the block's first byte; never 0, since a record's header comes before it */
  set(block: number, position: number, crc: number): void {
    this.#written.set(block, position, crc);
  }

  /** Gives blocks up. @param position of the record that says so */
  discard(firstBlock: number, blockCount: number, position: number): void {
    this.#written.remove(firstBlock, firstBlock + blockCount);
    this.#givenUp.add(firstBlock, firstBlock + blockCount, position);
  }

  /** @returns 0 for a block never written, and less for one given up */
  position(block: number): number {
    const position = this.#written.position(block);
    return position === 0 ? 0 - this.#givenUpAt(block) : position;
  }

  #givenUpAt(block: number): number {
    const extent = this.#givenUp.at(block);
    return extent !== undefined && extent.first <= block ? extent.position : 0;
  }

  /** Only meaningful for a written block. */
  crc(block: number): number {
    return this.#written.crc(block);
  }

  /** How many blocks from `block` on, at most `limitBlocks`, are written, never written, or given up as it is. */
  runLength(block: number, limitBlocks: number): number {
    const limit = block + limitBlocks;
    let end = block;
    if (this.#written.nextBlock(block) === block) {
      while (end < limit && this.#written.nextBlock(end) === end) end++;
      return end - block;
    }
    const untilWritten = Math.min(limit, this.#written.nextBlock(block));
    const extent = this.#givenUp.at(block);
    if (extent === undefined || extent.first > block) {
      return Math.min(untilWritten, extent?.first ?? untilWritten) - block;
    }
    for (let next: Extent | undefined = extent; next !== undefined && next.first <= end; ) {
      end = next.end;
      if (end >= untilWritten) break;
      next = this.#givenUp.at(end);
    }
    return Math.min(untilWritten, end) - block;
  }

  /** The smallest position of a record in use; Infinity when there is none. */
  lowestPosition(): number {
    const isInUse = ({ first, end }: Extent): boolean => !this.#written.hasAll(first, end);
    return Math.min(this.#written.lowestPosition(), this.#givenUp.lowestPosition(isInUse));
  }

  snapshot(): IndexSnapshot {
    return { written: this.#written.snapshot(), givenUp: [...this.#givenUp.extents] };
  }

  /** Starts from what a snapshot held. @param leaves entries as they stood in its leaves */
  adopt(leaves: readonly Uint16Array[], newestHigh: number, givenUp: readonly Extent[]): void {
    this.#written.adopt(leaves, newestHigh);
    this.#givenUp.adopt(givenUp);
  }
}
