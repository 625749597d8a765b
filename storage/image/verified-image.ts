import { describeError } from '../../base/errors.ts';
import { DeviceError, LOGICAL_BLOCK_BYTES } from '../block-device.ts';
import { isChunk } from './image-chunk.ts';
import type { ImageManifest } from './image-manifest.ts';
import type { OpenImage } from './image-source.ts';
import { CACHE_PAGE_BYTES } from './limits.ts';
import type { PageChecksums } from './page-checksums.ts';

/**
 * Has a damaged chunk of the image put right on this node's disk.
 * @returns false when nobody could give what was there
 */
export type MendChunk = (chunk: number) => Promise<boolean>;

/** An image of which nothing is given out that does not match its checksums. */
export class VerifiedImage implements OpenImage {
  readonly #raw: OpenImage;
  readonly #manifest: ImageManifest;
  readonly #checksums: PageChecksums;
  readonly #what: string;
  readonly #mend: MendChunk | undefined;
  readonly #checking = new Map<number, Promise<Uint8Array | undefined>>();

  constructor(
    raw: OpenImage,
    parts: {
      readonly manifest: ImageManifest;
      readonly checksums: PageChecksums;
      /** Names the image in errors. */
      readonly what: string;
      readonly mend: MendChunk | undefined;
    },
  ) {
    this.#raw = raw;
    this.#manifest = parts.manifest;
    this.#checksums = parts.checksums;
    this.#what = parts.what;
    this.#mend = parts.mend;
  }

  get sizeBytes(): number {
    return this.#manifest.sizeBytes;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const firstPage = Math.floor(offsetBytes / CACHE_PAGE_BYTES);
    const endPage = Math.ceil((offsetBytes + lengthBytes) / CACHE_PAGE_BYTES);
    const start = firstPage * CACHE_PAGE_BYTES;
    const bytes = await this.#readPages(firstPage, endPage);
    return bytes.subarray(offsetBytes - start, offsetBytes - start + lengthBytes);
  }

  /** Where anything is amiss, all else is left to read. */
  readNow(offsetBytes: number, lengthBytes: number): readonly Uint8Array[] | undefined {
    const firstPage = Math.floor(offsetBytes / CACHE_PAGE_BYTES);
    const endPage = Math.ceil((offsetBytes + lengthBytes) / CACHE_PAGE_BYTES);
    const start = firstPage * CACHE_PAGE_BYTES;
    const parts = this.#raw.readNow?.(start, (endPage - firstPage) * CACHE_PAGE_BYTES);
    const bytes = parts?.[0];
    if (bytes === undefined || parts?.length !== 1) return undefined;
    for (let page = firstPage; page < endPage; page++) {
      const at = (page - firstPage) * CACHE_PAGE_BYTES;
      if (!this.#isSound(page, bytes.subarray(at, at + CACHE_PAGE_BYTES))) return undefined;
    }
    return [bytes.subarray(offsetBytes - start, offsetBytes - start + lengthBytes)];
  }

  /** As far as can be told by what is known of the page; whatever is beyond the last chunk is zeros. */
  #isSound(page: number, content: Uint8Array): boolean {
    const chunk = this.#chunkOf(page);
    if (chunk >= this.#manifest.chunkCount) return true;
    return this.#checksums.knows(chunk) && this.#checksums.matches(page, content);
  }

  #chunkOf(page: number): number {
    return Math.floor((page * CACHE_PAGE_BYTES) / this.#manifest.chunkSizeBytes);
  }

  async #readPages(firstPage: number, endPage: number): Promise<Uint8Array> {
    const start = firstPage * CACHE_PAGE_BYTES;
    const length = (endPage - firstPage) * CACHE_PAGE_BYTES;
    let bytes: Uint8Array;
    try {
      bytes = await this.#raw.read(start, length);
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      // Which of the pages cannot be read shows below.
      bytes = new Uint8Array(length);
    }
    for (let page = firstPage; page < endPage; page++) {
      const at = (page - firstPage) * CACHE_PAGE_BYTES;
      const content = bytes.subarray(at, at + CACHE_PAGE_BYTES);
      if (this.#isSound(page, content)) continue;
      content.set(await this.#pageOfChunk(page, this.#chunkOf(page)));
    }
    return bytes;
  }

  /** By the SHA-256 of the whole chunk, which is put right where it does not match. */
  async #pageOfChunk(page: number, chunk: number): Promise<Uint8Array> {
    const checking = this.#checking.get(chunk) ?? this.#check(chunk);
    const found = await checking;
    const offset = page * CACHE_PAGE_BYTES;
    if (found === undefined) {
      const message = `${this.#what} is damaged at ${offset}, and no other node has given what was there`;
      throw new DeviceError('medium-error', message, { lba: offset / LOGICAL_BLOCK_BYTES });
    }
    this.#checksums.set(chunk, found);
    const start = offset - chunk * this.#manifest.chunkSizeBytes;
    const content = found.subarray(start, start + CACHE_PAGE_BYTES);
    if (content.length === CACHE_PAGE_BYTES) return content;
    const filled = new Uint8Array(CACHE_PAGE_BYTES);
    filled.set(content);
    return filled;
  }

  /** Whoever comes meanwhile waits for the same. */
  #check(chunk: number): Promise<Uint8Array | undefined> {
    const checking = this.#soundChunk(chunk)
      .then((sound) => sound ?? this.#mendedChunk(chunk))
      .finally(() => this.#checking.delete(chunk));
    this.#checking.set(chunk, checking);
    return checking;
  }

  async #soundChunk(chunk: number): Promise<Uint8Array | undefined> {
    const { chunkSizeBytes } = this.#manifest;
    try {
      const bytes = await this.#raw.read(chunk * chunkSizeBytes, this.#manifest.chunkLengthBytes(chunk));
      return (await isChunk(bytes, this.#manifest, chunk)) ? bytes : undefined;
    } catch (error) {
      if (error instanceof DeviceError) return undefined;
      throw error;
    }
  }

  async #mendedChunk(chunk: number): Promise<Uint8Array | undefined> {
    if (this.#mend === undefined) return undefined;
    try {
      if (!(await this.#mend(chunk))) return undefined;
    } catch (error) {
      const message = `${this.#what} is damaged and could not be mended: ${describeError(error)}`;
      throw new DeviceError('medium-error', message, { cause: error });
    }
    return this.#soundChunk(chunk);
  }

  close(): Promise<void> {
    return this.#raw.close();
  }
}
