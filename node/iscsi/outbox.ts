import { crc32c } from '../../base/crc32c.ts';
import { EARLY_FLUSH_BYTES, MAX_JOINED_BYTES, MAX_POOLED_HEADERS } from './limits.ts';
import { HEADER_BYTES } from './pdu.ts';

/** What an outbox needs of a socket. */
export interface ByteSink {
  cork(): void;
  uncork(): void;
  write(chunk: Uint8Array, done?: (error?: Error | null) => void): unknown;
  /** Writes what can be taken at once. @returns how many bytes from the first on; the rest is to be written otherwise */
  writeNow?(pieces: readonly Uint8Array[]): number;
}

const PADDING = [0, 3, 2, 1].map((lengthBytes) => Buffer.alloc(lengthBytes));
const DIGEST_BYTES = 4;
const NOBODY: readonly (() => void)[] = [];

/**
 * PDUs on their way out of one connection. All that one turn of the event loop produces leaves in one
 * gathering write, since a write of its own for each answer costs several times the answer itself. Data is
 * never copied; header buffers are used again once the write that held them is done.
 */
export class Outbox {
  headerDigest = false;
  dataDigest = false;
  readonly #sink: ByteSink;
  readonly #defer: (flush: () => void) => void;
  readonly #onWritten: () => void;
  readonly #pool: Buffer[] = [];
  #pieces: Uint8Array[] = [];
  #headers: Buffer[] = [];
  #taken: (() => void)[] = [];
  #pendingBytes = 0;
  #queuedBytes = 0;
  #scheduled = false;
  #held = false;
  readonly #flushTurn = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /**
   * @param defer runs its argument at the end of this turn of the event loop
   * @param onWritten called each time some of the queue was taken by the operating system, also while it is being sent
   */
  constructor(sink: ByteSink, defer: (flush: () => void) => void, onWritten: () => void) {
    this.#sink = sink;
    this.#defer = defer;
    this.#onWritten = onWritten;
  }

  /** Bytes given to send and not yet taken by the operating system. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** A header buffer to encode into; its content is stale. Hand it to send. */
  header(): Buffer {
    return this.#pool.pop() ?? Buffer.allocUnsafeSlow(HEADER_BYTES);
  }

  /**
   * Queues one PDU whose header already tells its data length. The data must not change any more, or not before `taken`
   * is called: once the operating system has taken it, and never where the connection ends before.
   */
  send(header: Buffer, data: readonly Uint8Array[], dataLengthBytes: number, taken?: () => void): void {
    if (taken !== undefined) this.#taken.push(taken);
    const pieces = this.#pieces;
    this.#headers.push(header);
    pieces.push(header);
    let lengthBytes = HEADER_BYTES;
    if (this.headerDigest) lengthBytes += this.#pushDigest(crc32c(header));
    if (dataLengthBytes > 0) {
      for (const part of data) pieces.push(part);
      const padding = PADDING[dataLengthBytes & 3] as Buffer;
      if (padding.length > 0) pieces.push(padding);
      lengthBytes += dataLengthBytes + padding.length;
      if (this.dataDigest) {
        const crc = data.reduce((crc, part) => crc32c(part, crc), 0);
        lengthBytes += this.#pushDigest(crc32c(padding, crc));
      }
    }
    this.#pendingBytes += lengthBytes;
    this.#queuedBytes += lengthBytes;
    if (this.#pendingBytes >= EARLY_FLUSH_BYTES) this.flush();
    else if (!this.#scheduled && !this.#held) {
      this.#scheduled = true;
      this.#defer(this.#flushTurn);
    }
  }

  #pushDigest(crc: number): number {
    const digest = Buffer.allocUnsafe(DIGEST_BYTES);
    digest.writeUInt32LE(crc);
    this.#pieces.push(digest);
    return DIGEST_BYTES;
  }

  /** Leaves what is sent from now on to release(), which must follow before the turn ends. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.flush();
  }

  /** Gives everything queued to the socket now. */
  flush(): void {
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    const headers = this.#headers;
    const taken = this.#taken.length > 0 ? this.#taken : NOBODY;
    const lengthBytes = this.#pendingBytes;
    this.#pieces = [];
    this.#headers = [];
    if (taken !== NOBODY) this.#taken = [];
    this.#pendingBytes = 0;
    const whole = joinShort(pieces);
    const writtenBytes = this.#sink.writeNow?.(whole) ?? 0;
    if (writtenBytes === lengthBytes) {
      this.#written(headers, lengthBytes, taken);
    } else {
      const rest = writtenBytes === 0 ? whole : dropFront(whole, writtenBytes);
      this.#writeLater(rest, (error) => {
        // Of a write that failed nobody knows whether the system is done with it.
        this.#written(headers, lengthBytes, error === undefined || error === null ? taken : NOBODY);
      });
    }
  }

  #writeLater(pieces: readonly Uint8Array[], done: (error?: Error | null) => void): void {
    const sink = this.#sink;
    const last = pieces.length - 1;
    sink.cork();
    for (let i = 0; i < last; i++) sink.write(pieces[i] as Uint8Array);
    sink.write(pieces[last] as Uint8Array, done);
    sink.uncork();
  }

  #written(headers: Buffer[], lengthBytes: number, taken: readonly (() => void)[]): void {
    this.#queuedBytes -= lengthBytes;
    for (const isTaken of taken) isTaken();
    for (const header of headers) {
      if (this.#pool.length >= MAX_POOLED_HEADERS) break;
      this.#pool.push(header);
    }
    this.#onWritten();
  }
}

function dropFront(pieces: readonly Uint8Array[], lengthBytes: number): readonly Uint8Array[] {
  let left = lengthBytes;
  let first = 0;
  while (left >= (pieces[first] as Uint8Array).length) left -= (pieces[first++] as Uint8Array).length;
  return [(pieces[first] as Uint8Array).subarray(left), ...pieces.slice(first + 1)];
}

/** Puts short pieces that follow each other into one: to write one by one costs several times what copying them does. */
function joinShort(pieces: readonly Uint8Array[]): readonly Uint8Array[] {
  const joined: Uint8Array[] = [];
  for (let from = 0, to = 0; from < pieces.length; from = to) {
    to = from;
    while (to < pieces.length && (pieces[to] as Uint8Array).length <= MAX_JOINED_BYTES) to++;
    if (to - from > 1) {
      joined.push(Buffer.concat(pieces.slice(from, to)));
    } else {
      to = from + 1;
      joined.push(pieces[from] as Uint8Array);
    }
  }
  return joined;
}
