import type { ReadMemory } from '../../storage/block-device.ts';
import { LARGEST_PIECE_BYTES, MAX_FREE_DATA_BYTES, SMALLEST_PIECE_BYTES } from './limits.ts';

/**
 * Memory for data on its way, used again and again: what has come of a write that cannot begin yet, and what a device has to
 * copy for a read. Left to the garbage collector, which counts objects and not what hangs on them, several times
 * what is in use would wait to be freed; and fresh memory costs a page fault for each 4 KiB.
 *
 * Pieces are of a few sizes, each twice the one before, and each is an ArrayBuffer of its own. Whoever takes one may
 * keep it: then it is garbage like any other.
 */
export class DataMemory {
  readonly #free = new Map<number, Uint8Array[]>();
  #freeBytes = 0;

  /** Waiting to be used again. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Memory whose content is stale. */
  take(lengthBytes: number): Uint8Array {
    if (lengthBytes > LARGEST_PIECE_BYTES) return new Uint8Array(lengthBytes);
    let sizeBytes = SMALLEST_PIECE_BYTES;
    while (sizeBytes < lengthBytes) sizeBytes *= 2;
    const piece = this.#free.get(sizeBytes)?.pop();
    if (piece === undefined) return new Uint8Array(new ArrayBuffer(sizeBytes), 0, lengthBytes);
    this.#freeBytes -= sizeBytes;
    return piece.length === lengthBytes ? piece : new Uint8Array(piece.buffer, 0, lengthBytes);
  }

  copyOf(bytes: Uint8Array): Uint8Array {
    const copy = this.take(bytes.length);
    copy.set(bytes);
    return copy;
  }

  /** Nobody looks any more at what was taken. Each may be given back once. */
  giveBack(taken: readonly Uint8Array[]): void {
    for (const piece of taken) {
      const sizeBytes = piece.buffer.byteLength;
      if (sizeBytes > LARGEST_PIECE_BYTES || this.#freeBytes + sizeBytes > MAX_FREE_DATA_BYTES) continue;
      const free = this.#free.get(sizeBytes);
      if (free === undefined) this.#free.set(sizeBytes, [piece]);
      else free.push(piece);
      this.#freeBytes += sizeBytes;
    }
  }
}

/** Notes what a device takes for one read, so that it can be given back once the answer has left. */
export class ReadLoan implements ReadMemory {
  readonly #memory: DataMemory;
  #taken: Uint8Array[] = [];

  constructor(memory: DataMemory) {
    this.#memory = memory;
  }

  take(lengthBytes: number): Uint8Array {
    const piece = this.#memory.take(lengthBytes);
    this.#taken.push(piece);
    return piece;
  }

  /** @returns what gives back all that was taken since this was last asked; undefined where nothing was */
  end(): (() => void) | undefined {
    if (this.#taken.length === 0) return undefined;
    const taken = this.#taken;
    this.#taken = [];
    return () => this.#memory.giveBack(taken);
  }
}
