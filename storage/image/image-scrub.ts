import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { DeviceError } from '../block-device.ts';
import type { ScrubArea, ScrubbedPart } from '../scrub/scrubber.ts';
import { isChunk } from './image-chunk.ts';
import { isManifestOf } from './image-fetch.ts';
import { ImageManifest } from './image-manifest.ts';
import type { ImagePart, ImageVersionRef } from './image-source.ts';
import type { ImageStore } from './image-store.ts';
import { CHUNK_BYTES } from './limits.ts';
import { PageChecksums } from './page-checksums.ts';

export interface ScrubbedImage extends ImageVersionRef {
  readonly sizeBytes: number;
  /** Hexadecimal, as the cluster agreed on it. */
  readonly manifestSha256: string;
}

/** What is known of an image while it is gone through. */
interface Pass {
  readonly encoded: Uint8Array;
  readonly manifest: ImageManifest;
  /** To be kept beside it, where those that were are gone. */
  readonly checksums: PageChecksums | undefined;
}

/** An image version that this node holds, to be read through chunk by chunk. */
export class ImageScrub implements ScrubArea {
  readonly name: string;
  readonly totalBytes: number;
  readonly #image: ScrubbedImage;
  readonly #store: ImageStore;
  readonly #mend: (ref: ImageVersionRef, part: ImagePart) => Promise<boolean>;
  readonly #logger: Logger;
  #pass: Pass | undefined;

  constructor(parts: {
    readonly image: ScrubbedImage;
    readonly store: ImageStore;
    /** Puts a part of it right. */
    readonly mend: (ref: ImageVersionRef, part: ImagePart) => Promise<boolean>;
    readonly logger: Logger;
  }) {
    this.#image = parts.image;
    this.#store = parts.store;
    this.#mend = parts.mend;
    this.#logger = parts.logger;
    const { name, version, sizeBytes } = parts.image;
    this.name = `image ${name} version ${version}`;
    this.totalBytes = sizeBytes;
  }

  fractionAt(cursor: number): number {
    return (cursor * CHUNK_BYTES) / this.totalBytes;
  }

  /** @param cursor number of the next chunk */
  async readPart(cursor: number): Promise<ScrubbedPart> {
    if (cursor === 0 || this.#pass === undefined) this.#pass = await this.#begin();
    const pass = this.#pass;
    if (pass === undefined) return { next: undefined, readBytes: 0 };
    const { manifest, checksums } = pass;
    let index = cursor;
    // Chunks of zeros are nowhere stored.
    while (index < manifest.chunkCount && manifest.chunkSha256(index) === undefined) index++;
    if (index >= manifest.chunkCount) {
      await this.#end(pass);
      return { next: undefined, readBytes: 0 };
    }
    let chunk = await this.#soundChunk(manifest, index);
    if (chunk === undefined && (await this.#mend(this.#image, index))) {
      chunk = await this.#soundChunk(manifest, index);
    }
    if (chunk !== undefined) checksums?.set(index, chunk);
    return { next: index + 1, readBytes: manifest.chunkLengthBytes(index) };
  }

  /** @returns undefined when the image is not here, or its manifest is damaged and nobody has given it */
  async #begin(): Promise<Pass | undefined> {
    let encoded = await this.#store.manifest(this.#image);
    if (!(await this.#isManifest(encoded))) {
      await this.#mend(this.#image, 'manifest');
      encoded = await this.#store.manifest(this.#image);
    }
    if (encoded === undefined || !(await this.#isManifest(encoded))) return undefined;
    const manifest = ImageManifest.decode(encoded);
    const kept = await this.#store.pageChecksums(this.#image, manifest, encoded);
    return { encoded, manifest, checksums: kept === undefined ? PageChecksums.of(manifest) : undefined };
  }

  async #isManifest(encoded: Uint8Array | undefined): Promise<boolean> {
    return encoded !== undefined && (await isManifestOf(this.#image, encoded));
  }

  async #end({ checksums, encoded }: Pass): Promise<void> {
    this.#pass = undefined;
    if (checksums?.isComplete !== true) return;
    await this.#store.keepPageChecksums(this.#image, checksums, encoded);
    this.#logger.info('image.page-checksums-made', { image: this.name });
  }

  async #soundChunk(manifest: ImageManifest, index: number): Promise<Uint8Array | undefined> {
    const image = await this.#store.openRaw(this.#image);
    try {
      const offset = index * manifest.chunkSizeBytes;
      const chunk = await image?.read(offset, manifest.chunkLengthBytes(index));
      return chunk !== undefined && (await isChunk(chunk, manifest, index)) ? chunk : undefined;
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      this.#logger.warn('image.chunk.unreadable', { index, error: describeError(error) });
      return undefined;
    } finally {
      await image?.close();
    }
  }
}
