import { invariant, ProtocolError } from '../../base/errors.ts';
import { bytes, layout, u32, u64 } from '../../base/layout.ts';
import { CHUNK_BYTES, MAX_IMAGE_BYTES } from './limits.ts';

/**
 * What an image version consists of: its size, and the SHA-256 of each chunk. The bytes are canonical, one
 * manifest having one spelling, so that the manifest's own SHA-256 names the version's content.
 *
 *      0  "bfImage1"
 *      8  size in bytes (big-endian, as all)
 *     16  chunk size in bytes
 *     20  number of chunks
 *     24  32 bytes a chunk: its SHA-256, or zeros where the chunk holds only zeros and is nowhere stored
 *
 * The last chunk may be short; its hash is over the bytes it has.
 */

const MAGIC = Buffer.from('bfImage1', 'latin1');
const HEADER_BYTES = 24;
const SHA256_BYTES = 32;
const NO_HASH = new Uint8Array(SHA256_BYTES);
/** Sizes are whole logical blocks, see block-device.ts. */
export const IMAGE_SIZE_UNIT_BYTES = 512;

const header = layout('image manifest', HEADER_BYTES, {
  magic: bytes(0, 8),
  sizeBytes: u64(8),
  chunkSizeBytes: u32(16),
  chunkCount: u32(20),
});

export class ImageManifest {
  readonly sizeBytes: number;
  readonly chunkSizeBytes: number;
  readonly #hashes: Uint8Array;

  private constructor(sizeBytes: number, chunkSizeBytes: number, hashes: Uint8Array) {
    this.sizeBytes = sizeBytes;
    this.chunkSizeBytes = chunkSizeBytes;
    this.#hashes = hashes;
  }

  /** @param chunks the SHA-256 of each chunk, undefined for one of zeros */
  static of(sizeBytes: number, chunks: readonly (Uint8Array | undefined)[]): ImageManifest {
    invariant(chunks.length === Math.ceil(sizeBytes / CHUNK_BYTES), 'a manifest names every chunk');
    const hashes = new Uint8Array(chunks.length * SHA256_BYTES);
    for (const [i, hash] of chunks.entries()) hashes.set(hash ?? NO_HASH, i * SHA256_BYTES);
    return new ImageManifest(sizeBytes, CHUNK_BYTES, hashes);
  }

  /** @throws ProtocolError code "bad-manifest" for anything that encode would not have made */
  static decode(input: Uint8Array): ImageManifest {
    if (input.length < HEADER_BYTES) throw bad('its length', input.length, `at least ${HEADER_BYTES}`);
    const raw = header.decode(input);
    if (Buffer.compare(raw.magic, MAGIC) !== 0) throw bad('its beginning', raw.magic, '"bfImage1"');
    if (raw.chunkSizeBytes !== CHUNK_BYTES) throw bad('the chunk size', raw.chunkSizeBytes, CHUNK_BYTES);
    const sizeBytes = Number(raw.sizeBytes);
    if (sizeBytes <= 0 || sizeBytes > MAX_IMAGE_BYTES || sizeBytes % IMAGE_SIZE_UNIT_BYTES !== 0) {
      throw bad('the size', raw.sizeBytes, `a multiple of 512 up to ${MAX_IMAGE_BYTES}`);
    }
    const chunkCount = Math.ceil(sizeBytes / CHUNK_BYTES);
    if (raw.chunkCount !== chunkCount) throw bad('the number of chunks', raw.chunkCount, chunkCount);
    const lengthBytes = HEADER_BYTES + chunkCount * SHA256_BYTES;
    if (input.length !== lengthBytes) throw bad('its length', input.length, lengthBytes);
    return new ImageManifest(sizeBytes, CHUNK_BYTES, input.slice(HEADER_BYTES));
  }

  encode(): Uint8Array {
    const out = new Uint8Array(HEADER_BYTES + this.#hashes.length);
    header.encode(
      {
        magic: MAGIC,
        sizeBytes: BigInt(this.sizeBytes),
        chunkSizeBytes: this.chunkSizeBytes,
        chunkCount: this.chunkCount,
      },
      out,
    );
    out.set(this.#hashes, HEADER_BYTES);
    return out;
  }

  get chunkCount(): number {
    return this.#hashes.length / SHA256_BYTES;
  }

  /** The SHA-256 of a chunk; undefined when it holds only zeros. */
  chunkSha256(index: number): Uint8Array | undefined {
    invariant(index >= 0 && index < this.chunkCount, `chunk ${index} of ${this.chunkCount}`);
    const hash = this.#hashes.subarray(index * SHA256_BYTES, (index + 1) * SHA256_BYTES);
    return Buffer.compare(hash, NO_HASH) === 0 ? undefined : hash;
  }

  chunkLengthBytes(index: number): number {
    return Math.min(this.chunkSizeBytes, this.sizeBytes - index * this.chunkSizeBytes);
  }

  /** Chunks that are stored and sent: all but those of zeros. */
  storedChunks(): number[] {
    const stored: number[] = [];
    for (let i = 0; i < this.chunkCount; i++) if (this.chunkSha256(i) !== undefined) stored.push(i);
    return stored;
  }
}

function bad(what: string, got: unknown, limit: unknown): ProtocolError {
  return new ProtocolError(`${what} is wrong for an image manifest`, { code: 'bad-manifest', got, limit });
}
