import { crc32c } from '../../base/crc32c.ts';
import { bytes, layout, u32 } from '../../base/layout.ts';
import type { ImageManifest } from './image-manifest.ts';
import { CACHE_PAGE_BYTES } from './limits.ts';

/**
 * CRC32C of each page of an image. Chunks are large and their SHA-256 takes time, so that a page that is read is
 * compared with this instead; where it does not match, the SHA-256 of its chunk says what is wrong. The file is made
 * from chunks that were compared with theirs, and an image can do without it.
 *
 *      0  "bfPages1"
 *      8  SHA-256 of the manifest
 *     40  CRC32C of bytes 0 to 39 and of all that follows
 *     44  4 bytes a page: its CRC32C (big-endian, as all); the last page counts as if filled up with zeros
 */

export const PAGES_FILE = 'pages';
const MAGIC = Buffer.from('bfPages1', 'latin1');
const HEADER_BYTES = 44;
const header = layout('page checksums', HEADER_BYTES, {
  magic: bytes(0, 8),
  manifest: bytes(8, 32),
  crc: u32(40),
});

export class PageChecksums {
  readonly #crcs: Uint32Array;
  readonly #isKnown: Uint8Array;
  readonly #pagesPerChunk: number;

  private constructor(crcs: Uint32Array, isKnown: Uint8Array, pagesPerChunk: number) {
    this.#crcs = crcs;
    this.#isKnown = isKnown;
    this.#pagesPerChunk = pagesPerChunk;
  }

  /** Of which nothing is known but chunks of zeros. */
  static of(manifest: ImageManifest): PageChecksums {
    const pagesPerChunk = manifest.chunkSizeBytes / CACHE_PAGE_BYTES;
    const crcs = new Uint32Array(manifest.chunkCount * pagesPerChunk).fill(CRC_OF_ZEROS);
    const isKnown = new Uint8Array(manifest.chunkCount).fill(1);
    for (const chunk of manifest.storedChunks()) isKnown[chunk] = 0;
    return new PageChecksums(crcs, isKnown, pagesPerChunk);
  }

  /** @returns undefined when the bytes are not what encode made for this manifest */
  static decode(
    input: Uint8Array,
    manifest: ImageManifest,
    manifestSha256: Uint8Array,
  ): PageChecksums | undefined {
    const made = PageChecksums.of(manifest);
    if (input.length !== HEADER_BYTES + made.#crcs.length * 4) return undefined;
    const raw = header.decode(input);
    const crc = crc32c(input.subarray(HEADER_BYTES), crc32c(input.subarray(0, 40)));
    const isSound =
      Buffer.compare(raw.magic, MAGIC) === 0 &&
      Buffer.compare(raw.manifest, manifestSha256) === 0 &&
      raw.crc === crc;
    if (!isSound) return undefined;
    const view = new DataView(input.buffer, input.byteOffset + HEADER_BYTES);
    for (let page = 0; page < made.#crcs.length; page++) made.#crcs[page] = view.getUint32(page * 4);
    made.#isKnown.fill(1);
    return made;
  }

  /** To be called when all chunks are known. */
  encode(manifestSha256: Uint8Array): Uint8Array {
    const out = new Uint8Array(HEADER_BYTES + this.#crcs.length * 4);
    header.encode({ magic: MAGIC, manifest: manifestSha256 }, out);
    const view = new DataView(out.buffer);
    for (const [page, crc] of this.#crcs.entries()) view.setUint32(HEADER_BYTES + page * 4, crc);
    view.setUint32(40, crc32c(out.subarray(HEADER_BYTES), crc32c(out.subarray(0, 40))));
    return out;
  }

  get isComplete(): boolean {
    return !this.#isKnown.includes(0);
  }

  knows(chunk: number): boolean {
    return this.#isKnown[chunk] === 1;
  }

  /** Takes note of a chunk that was compared with its SHA-256. */
  set(chunk: number, content: Uint8Array): void {
    this.setCrcs(chunk, crcsOfPages(content));
  }

  /** The same, given what crcsOfPages says of the chunk. */
  setCrcs(chunk: number, crcs: readonly number[]): void {
    this.#crcs.fill(CRC_OF_ZEROS, chunk * this.#pagesPerChunk, (chunk + 1) * this.#pagesPerChunk);
    this.#crcs.set(crcs, chunk * this.#pagesPerChunk);
    this.#isKnown[chunk] = 1;
  }

  /** @param content of the page, which may be cut short by the end of the image */
  matches(page: number, content: Uint8Array): boolean {
    return this.#crcs[page] === crcOfPage(content);
  }
}

const ZEROS = new Uint8Array(CACHE_PAGE_BYTES);
const CRC_OF_ZEROS = crc32c(ZEROS);

function crcOfPage(content: Uint8Array): number {
  return crc32c(ZEROS.subarray(content.length), crc32c(content));
}

/** Of each page of a chunk. */
export function crcsOfPages(chunk: Uint8Array): number[] {
  const crcs: number[] = [];
  for (let at = 0; at < chunk.length; at += CACHE_PAGE_BYTES) {
    crcs.push(crcOfPage(chunk.subarray(at, at + CACHE_PAGE_BYTES)));
  }
  return crcs;
}
