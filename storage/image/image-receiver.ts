import { join } from 'node:path';
import type { Counters } from '../../base/counters.ts';
import { OperationError, ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { OpenFile } from '../log/file-system.ts';
import { writeWhole } from '../log/whole-file.ts';
import type { ContentFetcher } from './content-fetcher.ts';
import { isAllZeros } from './content-hash.ts';
import { checkRoom } from './disk-reserve.ts';
import { isChunk } from './image-chunk.ts';
import { explainNoSpace, MANIFEST_FILE, openIfThere, RAW_FILE, readWhole } from './image-directory.ts';
import { describeRefusal, fetchChunk, fetchManifest, isManifestOf, type WantedImage } from './image-fetch.ts';
import { ImageManifest } from './image-manifest.ts';
import type { ImageStore } from './image-store.ts';
import { MAX_CHUNK_FETCHES } from './limits.ts';
import { PAGES_FILE, PageChecksums } from './page-checksums.ts';

export interface ImageReceiverOptions {
  readonly store: ImageStore;
  readonly fetcher: ContentFetcher;
  readonly logger: Logger;
  readonly counters: Counters;
}

export interface ReceiveOptions {
  readonly onProgress?: (doneChunks: number, totalChunks: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Fetches image versions from other nodes. What was fetched survives a restart: chunks are looked for in the
 * staged file and verified there, so that no note of progress can be wrong.
 */
export class ImageReceiver {
  readonly #store: ImageStore;
  readonly #fetcher: ContentFetcher;
  readonly #logger: Logger;
  readonly #counters: Counters;

  constructor(options: ImageReceiverOptions) {
    this.#store = options.store;
    this.#fetcher = options.fetcher;
    this.#logger = options.logger;
    this.#counters = options.counters;
  }

  /**
   * Brings the version into the store, whole and verified. One call at a time for one version.
   * @throws OperationError kind "unavailable" (no holder gave a sound copy, aborted) or "no-space"; what was
   *   fetched is kept for the next try
   */
  async receive(wanted: WantedImage, options: ReceiveOptions = {}): Promise<void> {
    const { fileSystem, directory } = this.#store;
    const staged = directory.fetch(wanted);
    try {
      const manifest = await this.#manifest(wanted, staged);
      const path = join(staged, RAW_FILE);
      const existing = await openIfThere(fileSystem, path);
      // All of it or nothing: a part that waits for the rest would only take room from the logs.
      if (existing === undefined) await checkRoom(fileSystem, staged, storedBytes(manifest));
      const file = existing ?? (await fileSystem.create(path));
      try {
        await file.truncate(manifest.sizeBytes);
        const checksums = PageChecksums.of(manifest);
        const isNew = existing === undefined;
        await this.#chunks(wanted, { manifest, checksums }, file, { ...options, isNew });
        await file.syncData();
        const pages = checksums.encode(Buffer.from(wanted.manifestSha256, 'hex'));
        await writeWhole(fileSystem, join(staged, PAGES_FILE), pages);
      } finally {
        await file.close();
      }
      await fileSystem.syncDirectory(staged);
      await this.#store.commitDirectory(staged, wanted);
      this.#counters.add('image.received');
    } catch (error) {
      throw explainNoSpace(error, `fetching image ${wanted.name} version ${wanted.version}`);
    }
  }

  async #manifest(wanted: WantedImage, staged: string): Promise<ImageManifest> {
    const { fileSystem } = this.#store;
    const path = join(staged, MANIFEST_FILE);
    const known = await readWhole(fileSystem, path);
    if (known !== undefined && (await isManifestOf(wanted, known))) return decodeManifest(known);
    const encoded = await fetchManifest(this.#fetcher, wanted, (from, error) =>
      this.#refused('image.manifest', from, error),
    );
    const manifest = decodeManifest(encoded);
    // A file staged under another manifest may hold data where this one has zeros.
    await fileSystem.removeTree(staged);
    await fileSystem.makeDirectory(staged);
    await writeWhole(fileSystem, path, encoded);
    return manifest;
  }

  /** Several at a time, in order; the first that fails ends all. */
  async #chunks(
    wanted: WantedImage,
    { manifest, checksums }: { manifest: ImageManifest; checksums: PageChecksums },
    file: OpenFile,
    options: ReceiveOptions & { readonly isNew: boolean },
  ): Promise<void> {
    const left = manifest.storedChunks();
    const totalChunks = left.length;
    let doneChunks = 0;
    let next = 0;
    let failure: { error: unknown } | undefined;
    options.onProgress?.(0, totalChunks);
    const work = async (): Promise<void> => {
      while (failure === undefined) {
        const index = left[next++];
        if (index === undefined) return;
        try {
          throwIfAborted(options.signal);
          let chunk = options.isNew ? undefined : await soundChunkIn(file, manifest, index);
          if (chunk === undefined) {
            chunk = await this.#chunk(wanted, manifest, index);
            await checkRoom(this.#store.fileSystem, this.#store.directory.fetch(wanted), chunk.length);
            await file.write([chunk], index * manifest.chunkSizeBytes);
          }
          checksums.set(index, chunk);
          options.onProgress?.(++doneChunks, totalChunks);
        } catch (error) {
          failure ??= { error };
        }
      }
    };
    await Promise.all(Array.from({ length: MAX_CHUNK_FETCHES }, work));
    if (failure !== undefined) throw failure.error;
  }

  async #chunk(wanted: WantedImage, manifest: ImageManifest, index: number): Promise<Uint8Array> {
    const chunk = await fetchChunk(this.#fetcher, wanted, { manifest, index }, (from, error) =>
      this.#refused('image.chunk', from, error),
    );
    this.#counters.add('image.chunk.fetched');
    return chunk;
  }

  #refused(what: string, from: string, error: unknown): void {
    this.#counters.add(error === undefined ? `${what}.damaged` : `${what}.failed`);
    this.#logger.warn(`${what}.refused`, { from, reason: describeRefusal(error) });
  }
}

function storedBytes(manifest: ImageManifest): number {
  return manifest.storedChunks().reduce((sum, index) => sum + manifest.chunkLengthBytes(index), 0);
}

/** @returns undefined when the file has something else there */
async function soundChunkIn(
  file: OpenFile,
  manifest: ImageManifest,
  index: number,
): Promise<Uint8Array | undefined> {
  const chunk = Buffer.allocUnsafe(manifest.chunkLengthBytes(index));
  const length = await file.read(chunk, index * manifest.chunkSizeBytes);
  // Mostly a hole, and comparing with zeros is much cheaper than hashing them.
  const isSound = length === chunk.length && !isAllZeros(chunk) && (await isChunk(chunk, manifest, index));
  return isSound ? chunk : undefined;
}

/** The manifest has the hash the cluster agreed on; that it is of a form unknown here is nobody's lie. */
function decodeManifest(encoded: Uint8Array): ImageManifest {
  try {
    return ImageManifest.decode(encoded);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new OperationError(`the image cannot be kept by this version: ${error.message}`, {
      kind: 'unavailable',
      code: 'unknown-manifest',
      got: error.got,
    });
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new OperationError('fetching was broken off', { kind: 'unavailable', code: 'fetch-aborted' });
}
