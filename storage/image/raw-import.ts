import { join } from 'node:path';
import { OperationError } from '../../base/errors.ts';
import type { FileSystem, OpenFile } from '../log/file-system.ts';
import { writeWhole } from '../log/whole-file.ts';
import { isAllZeros, sha256 } from './content-hash.ts';
import { checkRoom } from './disk-reserve.ts';
import { MANIFEST_FILE, RAW_FILE } from './image-directory.ts';
import { IMAGE_SIZE_UNIT_BYTES, ImageManifest } from './image-manifest.ts';
import { CHUNK_BYTES, MAX_IMAGE_BYTES } from './limits.ts';
import { crcsOfPages, PAGES_FILE, PageChecksums } from './page-checksums.ts';

export interface ImportOptions {
  /** How long the source is. */
  readonly sizeBytes: number;
  /** Told after each chunk. */
  readonly onProgress?: (doneBytes: number) => void;
  /** Ends the import between two chunks. */
  readonly signal?: AbortSignal;
}

/** @throws OperationError kind "invalid" or "too-large" */
export function checkImageSize(sizeBytes: number): void {
  const details = { code: 'bad-image-size', got: sizeBytes };
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % IMAGE_SIZE_UNIT_BYTES !== 0) {
    throw new OperationError(`an image cannot have ${sizeBytes} bytes`, {
      ...details,
      kind: 'invalid',
      accepted: `a positive multiple of ${IMAGE_SIZE_UNIT_BYTES} bytes (raw disk image)`,
    });
  }
  if (sizeBytes > MAX_IMAGE_BYTES) {
    throw new OperationError(`an image of ${sizeBytes} bytes is too large`, {
      ...details,
      kind: 'too-large',
      accepted: `up to ${MAX_IMAGE_BYTES} bytes`,
    });
  }
}

/**
 * Reads a raw image to its end into an existing, empty directory; all of it is durable afterwards.
 * @throws OperationError for a source of another length than announced or an abort; what the source or the
 *   file system throws. The directory is then for the caller to remove.
 */
export async function importIntoDirectory(
  fileSystem: FileSystem,
  directory: string,
  source: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<{ manifest: ImageManifest; manifestSha256: string }> {
  const file = await fileSystem.create(join(directory, RAW_FILE));
  let manifest: ImageManifest;
  let checksums: PageChecksums;
  try {
    // Setting the size first leaves holes where nothing is written.
    await file.truncate(options.sizeBytes);
    const writer = new ChunkWriter(file, options, (lengthBytes) =>
      checkRoom(fileSystem, directory, lengthBytes),
    );
    for await (const part of source) await writer.add(part);
    ({ manifest, checksums } = await writer.finish());
    await file.syncData();
  } finally {
    await file.close();
  }
  const encoded = manifest.encode();
  const sha = await sha256(encoded);
  await writeWhole(fileSystem, join(directory, PAGES_FILE), checksums.encode(sha));
  // The manifest comes last: where it is, everything else is.
  await writeWhole(fileSystem, join(directory, MANIFEST_FILE), encoded);
  await fileSystem.syncDirectory(directory);
  return { manifest, manifestSha256: Buffer.from(sha).toString('hex') };
}

class ChunkWriter {
  readonly #file: OpenFile;
  readonly #options: ImportOptions;
  readonly #checkRoom: (lengthBytes: number) => Promise<void>;
  readonly #hashes: (Uint8Array | undefined)[] = [];
  /** By chunk, where it is stored. */
  readonly #pageCrcs = new Map<number, readonly number[]>();
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #filledBytes = 0;
  #doneBytes = 0;

  constructor(file: OpenFile, options: ImportOptions, checkRoomFor: (lengthBytes: number) => Promise<void>) {
    this.#file = file;
    this.#options = options;
    this.#checkRoom = checkRoomFor;
  }

  async add(part: Uint8Array): Promise<void> {
    this.#throwIfAborted();
    const total = this.#doneBytes + this.#filledBytes + part.length;
    if (total > this.#options.sizeBytes)
      throw wrongLength(`more than ${this.#options.sizeBytes}`, this.#options);
    let rest = part;
    while (rest.length > 0) {
      const taken = rest.subarray(0, CHUNK_BYTES - this.#filledBytes);
      this.#chunk.set(taken, this.#filledBytes);
      this.#filledBytes += taken.length;
      rest = rest.subarray(taken.length);
      if (this.#filledBytes === CHUNK_BYTES) await this.#flush();
    }
  }

  async finish(): Promise<{ manifest: ImageManifest; checksums: PageChecksums }> {
    this.#throwIfAborted();
    if (this.#filledBytes > 0) await this.#flush();
    if (this.#doneBytes !== this.#options.sizeBytes) throw wrongLength(this.#doneBytes, this.#options);
    const manifest = ImageManifest.of(this.#doneBytes, this.#hashes);
    const checksums = PageChecksums.of(manifest);
    for (const [chunk, crcs] of this.#pageCrcs) checksums.setCrcs(chunk, crcs);
    return { manifest, checksums };
  }

  async #flush(): Promise<void> {
    const chunk = this.#chunk.subarray(0, this.#filledBytes);
    if (isAllZeros(chunk)) {
      this.#hashes.push(undefined);
    } else {
      await this.#checkRoom(chunk.length);
      const [hash] = await Promise.all([sha256(chunk), this.#file.write([chunk], this.#doneBytes)]);
      this.#pageCrcs.set(this.#hashes.length, crcsOfPages(chunk));
      this.#hashes.push(hash);
    }
    this.#doneBytes += this.#filledBytes;
    this.#filledBytes = 0;
    this.#options.onProgress?.(this.#doneBytes);
    this.#throwIfAborted();
  }

  #throwIfAborted(): void {
    if (this.#options.signal?.aborted !== true) return;
    throw new OperationError('the import was broken off', { kind: 'unavailable', code: 'import-aborted' });
  }
}

function wrongLength(got: number | string, { sizeBytes }: ImportOptions): OperationError {
  return new OperationError(`the image has ${got} bytes, and ${sizeBytes} were announced`, {
    kind: 'invalid',
    code: 'wrong-length',
    got,
    accepted: `exactly ${sizeBytes} bytes`,
  });
}
