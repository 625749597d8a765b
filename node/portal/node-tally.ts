/**
 * What the workers of a node count together, in memory that all of them see: how much they have appended to logs, which
 * are on one disk, and how much clients have read and written.
 */
export class NodeTally {
  readonly memory: SharedArrayBuffer;
  readonly #cells: BigInt64Array;

  /** @param memory of another worker's; absent: of a new one's */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(CELLS * BigInt64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#cells = new BigInt64Array(memory);
  }

  appended(lengthBytes: number): void {
    Atomics.add(this.#cells, APPENDED, BigInt(lengthBytes));
  }

  get appendedBytes(): number {
    return Number(Atomics.load(this.#cells, APPENDED));
  }

  moved(lengthBytes: number): void {
    Atomics.add(this.#cells, MOVED, BigInt(lengthBytes));
  }

  /** Read and written by clients. */
  get movedBytes(): number {
    return Number(Atomics.load(this.#cells, MOVED));
  }
}

const APPENDED = 0;
const MOVED = 1;
const CELLS = 2;
