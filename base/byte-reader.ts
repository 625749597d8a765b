import { ProtocolError } from './errors.ts';

/**
 * Reads big-endian fields in order and never past the end.
 * Every method throws ProtocolError code "truncated" when the bytes run out.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset: number;
  readonly #end: number;
  readonly #what: string;

  /** @param what names the thing being read in errors, as "TFTP request" */
  constructor(bytes: Uint8Array, what: string, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#offset = start;
    this.#end = Math.min(end, bytes.length);
    this.#what = what;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#end - this.#offset;
  }

  #take(length: number): number {
    if (length < 0 || length > this.remaining) {
      throw new ProtocolError(
        `${this.#what} ends after ${this.#end} bytes; ${length} more were needed at offset ${this.#offset}`,
        { code: 'truncated', got: this.remaining, limit: length },
      );
    }
    const at = this.#offset;
    this.#offset += length;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u24(): number {
    const at = this.#take(3);
    return (this.#view.getUint8(at) << 16) | this.#view.getUint16(at + 1);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  /** A view of the next bytes, not a copy. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  skip(length: number): void {
    this.#take(length);
  }

  /** The ASCII text up to a NUL byte, which is consumed and not returned. */
  cString(): string {
    const end = this.#bytes.indexOf(0, this.#offset);
    if (end === -1 || end >= this.#end) {
      throw new ProtocolError(`${this.#what} has text with no terminating NUL at offset ${this.#offset}`, {
        code: 'truncated',
      });
    }
    const text = latin1(this.#bytes.subarray(this.#offset, end));
    this.#offset = end + 1;
    return text;
  }
}

/** Bytes as text, one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
