import { MAX_LOST_BLOCKS } from './limits.ts';

/**
 * Damaged blocks that were looked for while no other member was there to be asked, so that reading one again costs no search.
 * A block that is written over lies elsewhere, and one that was put right is sound where it lies: neither is asked for
 * any more.
 */
export class LostBlocks {
  /** What they must have as CRC32C, by position: a place may be another record's in time. */
  readonly #blocks = new Map<number, number>();

  add(position: number, crc: number): void {
    this.#blocks.delete(position);
    this.#blocks.set(position, crc);
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size > MAX_LOST_BLOCKS && oldest !== undefined) this.#blocks.delete(oldest);
  }

  has(position: number, crc: number): boolean {
    return this.#blocks.get(position) === crc;
  }

  /** Somebody is there who may have them. */
  forget(): void {
    this.#blocks.clear();
  }
}
