import { join } from 'node:path';
import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { type ContentFetcher, fetchFromAny } from './content-fetcher.ts';
import { sha256Hex } from './content-hash.ts';
import { isChunk } from './image-chunk.ts';
import { MANIFEST_FILE, openIfThere, RAW_FILE, writeWhole } from './image-directory.ts';
import { ImageManifest } from './image-manifest.ts';
import type { ImagePart, ImageVersionRef } from './image-source.ts';
import type { ImageStore } from './image-store.ts';

export interface MendedImage extends ImageVersionRef {
  /** Hexadecimal. */
  readonly manifestSha256: string;
  /** Other nodes that hold it. */
  readonly holders: readonly string[];
}

export interface ImageMenderOptions {
  readonly store: ImageStore;
  readonly fetcher: ContentFetcher;
  /** As the cluster knows the version; undefined when it knows none. */
  readonly wanted: (ref: ImageVersionRef) => MendedImage | undefined;
  readonly logger: Logger;
  readonly counters: Counters;
}

/**
 * Puts damaged chunks of images right with what other nodes hold. A chunk is written in its place: until it is whole
 * it does not match its SHA-256, as before, and nobody is given it.
 */
export class ImageMender {
  readonly #options: ImageMenderOptions;
  readonly #mending = new Map<string, Promise<boolean>>();

  constructor(options: ImageMenderOptions) {
    this.#options = options;
  }

  /** @returns whether that part is as it should be, durably; calls for the same share one try */
  mend(ref: ImageVersionRef, part: ImagePart): Promise<boolean> {
    const key = `${ref.name}@${ref.version}/${part}`;
    const known = this.#mending.get(key);
    if (known !== undefined) return known;
    const mending = this.#mend(ref, part)
      .catch((error: unknown) => {
        const { name, version } = ref;
        const fields = { name, version, part, error: describeError(error) };
        this.#options.logger.error('image.part.not-mended', fields);
        this.#options.counters.add('image.part.not-mended');
        return false;
      })
      .finally(() => this.#mending.delete(key));
    this.#mending.set(key, mending);
    return mending;
  }

  async #mend(ref: ImageVersionRef, part: ImagePart): Promise<boolean> {
    const { store, logger, counters } = this.#options;
    const wanted = this.#options.wanted(ref);
    if (wanted === undefined) return false;
    const manifest = await this.#manifest(wanted);
    if (part === 'manifest') return true;
    const chunk = await this.#chunk(wanted, manifest, part);
    const path = join(store.directory.version(ref), RAW_FILE);
    const file = (await openIfThere(store.fileSystem, path)) ?? (await store.fileSystem.create(path));
    try {
      if ((await file.sizeBytes()) < manifest.sizeBytes) await file.truncate(manifest.sizeBytes);
      await file.write([chunk], part * manifest.chunkSizeBytes);
      await file.syncData();
    } finally {
      await file.close();
    }
    await store.fileSystem.syncDirectory(store.directory.version(ref));
    counters.add('image.chunk.mended');
    logger.warn('image.chunk.mended', { name: ref.name, version: ref.version, chunk: part });
    return true;
  }

  #chunk(wanted: MendedImage, manifest: ImageManifest, index: number): Promise<Uint8Array> {
    if (manifest.chunkSha256(index) === undefined) {
      return Promise.resolve(new Uint8Array(manifest.chunkLengthBytes(index)));
    }
    return fetchFromAny({
      holders: wanted.holders,
      startAt: index,
      what: `chunk ${index} of image ${wanted.name} version ${wanted.version}`,
      fetch: (from) => this.#options.fetcher.chunk(from, wanted, index),
      isSound: (input) => isChunk(input, manifest, index),
      onRefused: (from, error) => this.#refused(from, error),
    });
  }

  /** The one that the cluster agreed on, fetched where this node's is damaged. */
  async #manifest(wanted: MendedImage): Promise<ImageManifest> {
    const { store, counters, logger } = this.#options;
    const isSound = async (input: Uint8Array): Promise<boolean> =>
      (await sha256Hex(input)) === wanted.manifestSha256;
    const known = await store.manifest(wanted);
    if (known !== undefined && (await isSound(known))) return ImageManifest.decode(known);
    const encoded = await fetchFromAny({
      holders: wanted.holders,
      startAt: 0,
      what: `the manifest of image ${wanted.name} version ${wanted.version}`,
      fetch: (from) => this.#options.fetcher.manifest(from, wanted),
      isSound,
      onRefused: (from, error) => this.#refused(from, error),
    });
    const manifest = ImageManifest.decode(encoded);
    const directory = store.directory.version(wanted);
    const temporary = join(directory, `${MANIFEST_FILE}.tmp`);
    await writeWhole(store.fileSystem, temporary, encoded);
    await store.fileSystem.rename(temporary, join(directory, MANIFEST_FILE));
    await store.fileSystem.syncDirectory(directory);
    store.forgetManifest();
    counters.add('image.manifest.mended');
    logger.warn('image.manifest.mended', { name: wanted.name, version: wanted.version });
    return manifest;
  }

  #refused(from: string, error: unknown): void {
    const reason = error === undefined ? 'it does not match its SHA-256' : describeError(error);
    this.#options.logger.warn('image.mending.refused', { from, reason });
  }
}
