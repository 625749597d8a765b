import { MAX_FREE_STAGES, STAGE_BYTES } from './limits.ts';

/** Where staged bytes go: what a socket's write does. */
export interface StageSink {
  /** Bytes given to write and not yet taken by the system. */
  readonly writableLength: number;
  write(bytes: Uint8Array, written: (error?: Error | null) => void): unknown;
}

/**
 * Puts together what one step sends over one socket, in memory that is used again: a socket that is given many small
 * buffers spends more on each of them than on copying it, and TLS copies several into fresh memory in any case.
 */
export class SendStage {
  readonly #sink: StageSink;
  readonly #onWritten: () => void;
  readonly #free: Uint8Array[] = [];
  #piece: Uint8Array | undefined;
  #usedBytes = 0;

  /** @param onWritten told whenever the system has taken some of it */
  constructor(sink: StageSink, onWritten: () => void) {
    this.#sink = sink;
    this.#onWritten = onWritten;
  }

  /** What has been added and not been given to the system. */
  get queuedBytes(): number {
    return this.#usedBytes + this.#sink.writableLength;
  }

  /** Copies the bytes; what is full goes out at once. */
  add(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      this.#piece ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(STAGE_BYTES);
      const taken = Math.min(STAGE_BYTES - this.#usedBytes, bytes.length - from);
      const isWhole = taken === bytes.length;
      this.#piece.set(isWhole ? bytes : bytes.subarray(from, from + taken), this.#usedBytes);
      this.#usedBytes += taken;
      from += taken;
      if (this.#usedBytes === STAGE_BYTES) this.flush();
    }
  }

  /** Sends what has been added. */
  flush(): void {
    const piece = this.#piece;
    if (piece === undefined || this.#usedBytes === 0) return;
    const staged = piece.subarray(0, this.#usedBytes);
    this.#usedBytes = 0;
    if (this.#sink.writableLength > 0 && staged.length < STAGE_BYTES / 2) {
      // It will wait for a while, and so would all of the piece for the sake of a part.
      this.#sink.write(Buffer.from(staged), (error) => this.#written(error));
      return;
    }
    this.#piece = undefined;
    this.#sink.write(staged, (error) => {
      if (error instanceof Error) return;
      if (this.#free.length < MAX_FREE_STAGES) this.#free.push(piece);
      this.#onWritten();
    });
  }

  #written(error: Error | null | undefined): void {
    if (!(error instanceof Error)) this.#onWritten();
  }
}
