import { readStamp, stampedBlock } from '../demo/block-stamp.ts';

export const BLOCK_BYTES = 4096;

/**
 * What was written to one disk, change by change, and so what a read of each block may give. Every block has at most
 * one change under way at a time. A change that was refused may be there or not.
 */
export class BlockLedger {
  readonly #client: number;
  /** Of each block: the last change acknowledged; 0: none was. */
  readonly #acknowledged: Uint32Array;
  /** Of each block: the last change sent. */
  readonly #attempted: Uint32Array;
  /** Of each block: those of its changes from the last acknowledged one on that leave zeros, in their order. */
  readonly #zeroed = new Map<number, number[]>();

  constructor(client: number, blocks: number) {
    this.#client = client;
    this.#acknowledged = new Uint32Array(blocks);
    this.#attempted = new Uint32Array(blocks);
  }

  get blocks(): number {
    return this.#attempted.length;
  }

  acknowledged(block: number): number {
    return this.#acknowledged[block] ?? 0;
  }

  attempted(block: number): number {
    return this.#attempted[block] ?? 0;
  }

  /** Notes that blocks are about to be written. @returns the data to write */
  beginWrite(first: number, count: number): Uint8Array {
    const data = new Uint8Array(count * BLOCK_BYTES);
    for (let i = 0; i < count; i++) {
      const block = first + i;
      const sequence = this.#begin(block);
      data.set(stampedBlock({ client: this.#client, block, sequence }), i * BLOCK_BYTES);
    }
    return data;
  }

  /** Notes that blocks are about to be unmapped: they read as zeros once that is acknowledged. */
  beginUnmap(first: number, count: number): void {
    for (let block = first; block < first + count; block++) {
      const sequence = this.#begin(block);
      this.#zeroed.set(block, [...(this.#zeroed.get(block) ?? []), sequence]);
    }
  }

  /** The change last begun of each of these blocks was acknowledged. */
  acknowledge(first: number, count: number): void {
    for (let block = first; block < first + count; block++) {
      const sequence = this.attempted(block);
      this.#acknowledged[block] = sequence;
      const zeroed = this.#zeroed.get(block)?.filter((candidate) => candidate >= sequence) ?? [];
      if (zeroed.length > 0) this.#zeroed.set(block, zeroed);
      else this.#zeroed.delete(block);
    }
  }

  /**
   * Holds what was read against what may be there.
   * @param oldest what the block had to have at least when the read was sent
   * @returns the change that was read (the oldest it can be), or what is wrong
   */
  judge(block: number, bytes: Uint8Array, oldest: number, newest: number): number | string {
    const expected = oldest === newest ? `${newest}` : `${oldest} to ${newest}`;
    const stamp = readStamp(bytes);
    if (stamp === undefined) {
      if (!bytes.every((byte) => byte === 0)) return `no whole stamp, not change ${expected}`;
      const sequence = this.#zeros(block).find((candidate) => candidate >= oldest && candidate <= newest);
      return sequence ?? `zeros, not change ${expected}`;
    }
    const { client, sequence } = stamp;
    const isRight =
      client === this.#client && stamp.block === block && !this.#zeros(block).includes(sequence);
    if (isRight && sequence >= oldest && sequence <= newest) return sequence;
    return `${JSON.stringify(stamp)}, not change ${expected}`;
  }

  /** The changes that leave zeros; the first of all is that nothing was written yet. */
  #zeros(block: number): readonly number[] {
    return [0, ...(this.#zeroed.get(block) ?? [])];
  }

  #begin(block: number): number {
    const sequence = this.attempted(block) + 1;
    this.#attempted[block] = sequence;
    return sequence;
  }
}
