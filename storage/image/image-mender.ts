import { join } from 'node:path';
import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { writeWhole } from '../log/whole-file.ts';
import type { ContentFetcher } from './content-fetcher.ts';
import { MANIFEST_FILE, openIfThere, RAW_FILE } from './image-directory.ts';
import { describeRefusal, fetchChunk, fetchManifest, isManifestOf, type WantedImage } from './image-fetch.ts';
import { ImageManifest } from './image-manifest.ts';
import type { ImagePart, ImageVersionRef } from './image-source.ts';
import type { ImageStore } from './image-store.ts';

export interface ImageMenderOptions {
  readonly store: ImageStore;
  readonly fetcher: ContentFetcher;
  /** As the cluster knows the version; undefined when it knows none. */
  readonly wanted: (ref: ImageVersionRef) => WantedImage | undefined;
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

  #chunk(wanted: WantedImage, manifest: ImageManifest, index: number): Promise<Uint8Array> {
    if (manifest.chunkSha256(index) === undefined) {
      return Promise.resolve(new Uint8Array(manifest.chunkLengthBytes(index)));
    }
    return fetchChunk(this.#options.fetcher, wanted, { manifest, index }, (from, error) =>
      this.#refused(from, error),
    );
  }

  /** The one that the cluster agreed on, fetched where this node's is damaged. */
  async #manifest(wanted: WantedImage): Promise<ImageManifest> {
    const { store, fetcher, counters, logger } = this.#options;
    const known = await store.manifest(wanted);
    if (known !== undefined && (await isManifestOf(wanted, known))) return ImageManifest.decode(known);
    const encoded = await fetchManifest(fetcher, wanted, (from, error) => this.#refused(from, error));
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
    this.#options.logger.warn('image.mending.refused', { from, reason: describeRefusal(error) });
  }
}
