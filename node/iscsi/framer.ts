import { crc32c } from '../../base/crc32c.ts';
import { ProtocolError } from '../../base/errors.ts';
import type { DataMemory } from './data-memory.ts';
import { SMALLEST_PIECE_BYTES } from './limits.ts';
import { HEADER_BYTES } from './pdu.ts';

/** One PDU as it lies in the received bytes. */
export interface PduFrame {
  /** Holds the 48 header bytes at `at`. */
  readonly header: Uint8Array;
  readonly at: number;
  /** The data segment without padding: views of the received chunks, in order. */
  readonly data: readonly Uint8Array[];
  readonly dataLengthBytes: number;
}

const NO_DATA: readonly Uint8Array[] = [];
const NO_HEADER = new Uint8Array(HEADER_BYTES);
const DIGEST_BYTES = 4;
/** Room for every AHS that RFC 7143 defines for a command we take: bidirectional length and an extended CDB. */
const MAX_AHS_BYTES = 256;

/**
 * Cuts a byte stream into PDUs (RFC 7143 §11.1) without copying data segments. Holds at most one incomplete
 * PDU, whose size is bounded by the data segment limit, plus what came with its last chunk.
 */
export class Framer {
  /** Longest data segment accepted; follows the stage of the connection. */
  maxDataSegmentBytes: number;
  headerDigest = false;
  dataDigest = false;
  readonly #chunks: Uint8Array[] = [];
  /** So many of them, from the first, are copies that keepRest made. */
  #keptChunks = 0;
  /** Memory of such copies that nobody looks at any more once the next chunk has been gone through. */
  #spent: Uint8Array[] = [];
  #head = 0;
  #available = 0;
  /** Where the header of the PDU that was cut last, or could not be, lies. */
  #lastHeader: Uint8Array = NO_HEADER;
  #lastAt = 0;
  /** No PDU can be complete before this many bytes are there. */
  #needed = HEADER_BYTES;

  constructor(maxDataSegmentBytes: number) {
    this.maxDataSegmentBytes = maxDataSegmentBytes;
  }

  /**
   * PDUs are views of the chunk: it must not change as long as they are looked at. Nobody may write into it again, or
   * not before keepRest() was called.
   */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#available += chunk.length;
  }

  /**
   * Takes over what has not been cut into PDUs: the chunks pushed are no longer needed.
   * @param memory where it lies until it has been; whoever keeps it that way is done by now with all PDUs had so far
   */
  keepRest(memory: DataMemory): void {
    if (this.#spent.length > 0) {
      memory.giveBack(this.#spent);
      this.#spent = [];
    }
    const last = this.#chunks.length - 1;
    if (last < this.#keptChunks) return;
    // All but the last chunk were kept before.
    const from = last === 0 ? this.#head : 0;
    const chunk = this.#chunks[last] as Uint8Array;
    const isLong = chunk.length - from >= SMALLEST_PIECE_BYTES;
    this.#chunks[last] = isLong ? memory.copyOf(chunk.subarray(from)) : copyOf(chunk, from);
    if (last === 0) this.#head = 0;
    this.#keptChunks = this.#chunks.length;
  }

  get bufferedBytes(): number {
    return this.#available;
  }

  /** A copy of the header that next() looked at last, to be asked for right after it threw. */
  lastHeader(): Uint8Array {
    return copyOf(this.#lastHeader, this.#lastAt, this.#lastAt + HEADER_BYTES);
  }

  /**
   * The next whole PDU, or undefined until more bytes have come.
   * @throws ProtocolError code "data-segment-too-long", "ahs-too-long", "header-digest" or "data-digest";
   *   after "data-digest" the stream is still in step, after the others it is not
   */
  next(): PduFrame | undefined {
    if (this.#available < this.#needed) return undefined;
    const first = this.#chunks[0] as Uint8Array;
    const contiguous = first.length - this.#head >= HEADER_BYTES;
    const header = contiguous ? first : this.#peek(HEADER_BYTES);
    const at = contiguous ? this.#head : 0;
    this.#lastHeader = header;
    this.#lastAt = at;
    const ahsBytes = (header[at + 4] as number) * 4;
    const dataBytes =
      ((header[at + 5] as number) << 16) | ((header[at + 6] as number) << 8) | (header[at + 7] as number);
    this.#checkLengths(ahsBytes, dataBytes);
    const digestBytes = this.headerDigest ? DIGEST_BYTES : 0;
    const paddedBytes = (dataBytes + 3) & ~3;
    const trailerBytes = this.dataDigest && dataBytes > 0 ? DIGEST_BYTES : 0;
    const totalBytes = HEADER_BYTES + ahsBytes + digestBytes + paddedBytes + trailerBytes;
    if (this.#available < totalBytes) {
      this.#needed = totalBytes;
      return undefined;
    }
    this.#needed = HEADER_BYTES;
    if (this.headerDigest) this.#takeVerified(HEADER_BYTES + ahsBytes, 'header-digest');
    else this.#skip(HEADER_BYTES + ahsBytes);
    if (dataBytes === 0) return { header, at, data: NO_DATA, dataLengthBytes: 0 };
    return { header, at, data: this.#takeData(dataBytes, paddedBytes), dataLengthBytes: dataBytes };
  }

  #checkLengths(ahsBytes: number, dataBytes: number): void {
    if (dataBytes > this.maxDataSegmentBytes) {
      throw new ProtocolError(
        `a data segment of ${dataBytes} bytes came; at most ${this.maxDataSegmentBytes} were agreed`,
        {
          code: 'data-segment-too-long',
          got: dataBytes,
          limit: this.maxDataSegmentBytes,
          rfc: 'RFC 7143 §13.12',
        },
      );
    }
    if (ahsBytes > MAX_AHS_BYTES) {
      throw new ProtocolError(`additional header segments of ${ahsBytes} bytes came`, {
        code: 'ahs-too-long',
        got: ahsBytes,
        limit: MAX_AHS_BYTES,
        rfc: 'RFC 7143 §11.2.2',
      });
    }
  }

  #takeData(dataBytes: number, paddedBytes: number): readonly Uint8Array[] {
    if (this.dataDigest) {
      const padded = this.#takeVerified(paddedBytes, 'data-digest');
      return trim(padded, dataBytes);
    }
    const data = this.#take(dataBytes);
    this.#skip(paddedBytes - dataBytes);
    return data;
  }

  #takeVerified(lengthBytes: number, code: 'header-digest' | 'data-digest'): readonly Uint8Array[] {
    const parts = this.#take(lengthBytes);
    const computed = parts.reduce((crc, part) => crc32c(part, crc), 0);
    const sent = this.#peek(DIGEST_BYTES);
    this.#skip(DIGEST_BYTES);
    // The digest is sent with its lowest byte first (RFC 7143 §13.1).
    const got = new DataView(sent.buffer, sent.byteOffset).getUint32(0, true);
    if (got !== computed) {
      throw new ProtocolError(`${code} does not match`, { code, got, limit: computed, rfc: 'RFC 7143 §7.7' });
    }
    return parts;
  }

  /** A copy of the next bytes, which stay where they are. */
  #peek(lengthBytes: number): Uint8Array {
    const out = new Uint8Array(lengthBytes);
    let filled = 0;
    let from = this.#head;
    for (const chunk of this.#chunks) {
      const part = chunk.subarray(from, from + lengthBytes - filled);
      out.set(part, filled);
      filled += part.length;
      from = 0;
      if (filled === lengthBytes) break;
    }
    return out;
  }

  #take(lengthBytes: number): readonly Uint8Array[] {
    const first = this.#chunks[0] as Uint8Array;
    if (first.length - this.#head >= lengthBytes) {
      const part = first.subarray(this.#head, this.#head + lengthBytes);
      this.#skip(lengthBytes);
      return [part];
    }
    const parts: Uint8Array[] = [];
    let left = lengthBytes;
    while (left > 0) {
      const chunk = this.#chunks[0] as Uint8Array;
      const part = chunk.subarray(this.#head, this.#head + left);
      parts.push(part);
      left -= part.length;
      this.#skip(part.length);
    }
    return parts;
  }

  #skip(lengthBytes: number): void {
    this.#available -= lengthBytes;
    let left = lengthBytes;
    while (left > 0) {
      const chunk = this.#chunks[0] as Uint8Array;
      const here = chunk.length - this.#head;
      if (left < here) {
        this.#head += left;
        return;
      }
      left -= here;
      this.#head = 0;
      this.#chunks.shift();
      this.#forget(chunk);
    }
  }

  /** The first chunk has been gone through. */
  #forget(chunk: Uint8Array): void {
    if (this.#keptChunks === 0) return;
    this.#keptChunks--;
    if (chunk.length >= SMALLEST_PIECE_BYTES) this.#spent.push(chunk);
  }
}

function trim(parts: readonly Uint8Array[], lengthBytes: number): readonly Uint8Array[] {
  const out: Uint8Array[] = [];
  let left = lengthBytes;
  for (const part of parts) {
    if (left <= 0) break;
    out.push(part.length <= left ? part : part.subarray(0, left));
    left -= part.length;
  }
  return out;
}

/** The same PDU in memory of its own: what it was received in is used again. */
export function ownFrame(frame: PduFrame): PduFrame {
  const { data, dataLengthBytes } = frame;
  return { header: headerOf(frame), at: 0, data: data.map((part) => copyOf(part)), dataLengthBytes };
}

/** A copy of its 48 header bytes. */
export function headerOf({ header, at }: PduFrame): Uint8Array {
  return copyOf(header, at, at + HEADER_BYTES);
}

/** A copy indeed, which slice of a Buffer is not. */
function copyOf(bytes: Uint8Array, from = 0, to = bytes.length): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes, from, to);
}
