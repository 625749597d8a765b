import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { CounterSet, type Counters } from '../../base/counters.ts';
import { describeError, invariant, OperationError } from '../../base/errors.ts';
import { type Logger, silentLogger } from '../../base/logger.ts';
import { DeviceError } from '../block-device.ts';
import { type FileSystem, isMissing, nodeFileSystem } from '../log/file-system.ts';
import { writeWhole } from '../log/whole-file.ts';
import { sha256, sha256Hex } from './content-hash.ts';
import { isChunk } from './image-chunk.ts';
import {
  checkName,
  explainNoSpace,
  FETCH_PREFIX,
  ImageDirectory,
  isName,
  MANIFEST_FILE,
  ORPHAN_PREFIX,
  openIfThere,
  RAW_FILE,
  REMOVED_PREFIX,
  readWhole,
  UPLOAD_PREFIX,
} from './image-directory.ts';
import { ImageManifest } from './image-manifest.ts';
import type { ImagePart, ImageSource, ImageVersionRef, OpenImage } from './image-source.ts';
import { MAX_IMPORTS } from './limits.ts';
import { PAGES_FILE, PageChecksums } from './page-checksums.ts';
import { RawImage } from './raw-image.ts';
import { checkImageSize, type ImportOptions, importIntoDirectory } from './raw-import.ts';
import { VerifiedImage } from './verified-image.ts';

export interface ImageStoreOptions {
  /** The store's own; made by start when missing. */
  readonly directory: string;
  readonly fileSystem?: FileSystem;
  readonly logger?: Logger;
  readonly counters?: Counters;
  /** Puts what is damaged right on this disk; false when nobody could give what was there. */
  readonly mend?: (ref: ImageVersionRef, part: ImagePart) => Promise<boolean>;
  /** Hexadecimal, as the cluster knows the version's; undefined where it is not known. */
  readonly manifestSha256?: (ref: ImageVersionRef) => string | undefined;
}

export interface ImportedImage {
  /** For commitImport or discardImport. */
  readonly token: string;
  readonly manifest: ImageManifest;
  /** Hexadecimal. */
  readonly manifestSha256: string;
}

export type VerifyResult =
  | { readonly outcome: 'sound' }
  | { readonly outcome: 'not-held' }
  /** `chunks` is empty when the manifest itself is damaged. */
  | { readonly outcome: 'damaged'; readonly chunks: readonly number[] };

/**
 * Image versions on this node's disk. Reading needs no start, so a worker thread may open a store beside
 * the one that imports; only one may be started.
 */
export class ImageStore implements ImageSource {
  readonly directory: ImageDirectory;
  readonly fileSystem: FileSystem;
  readonly counters: Counters;
  readonly #logger: Logger;
  readonly #mend: ImageStoreOptions['mend'];
  readonly #manifestSha256: ImageStoreOptions['manifestSha256'];
  #imports = 0;
  /** The manifest last asked for; fetching a version asks for its chunks one by one. */
  #recent: { key: string; manifest: ImageManifest } | undefined;

  constructor(options: ImageStoreOptions) {
    this.directory = new ImageDirectory(options.directory);
    this.fileSystem = options.fileSystem ?? nodeFileSystem;
    this.#logger = options.logger ?? silentLogger;
    this.counters = options.counters ?? new CounterSet();
    this.#mend = options.mend;
    this.#manifestSha256 = options.manifestSha256;
  }

  /**
   * Makes the folders and removes what uploads broken off have left. A complete upload whose version number
   * was not yet stored is kept until the start after this one: the cluster may have taken it in.
   */
  async start(): Promise<void> {
    const { root, images, staging } = this.directory;
    await this.fileSystem.makeDirectory(images);
    await this.fileSystem.makeDirectory(staging);
    for (const name of await this.fileSystem.list(staging)) {
      const path = join(staging, name);
      const isUpload = name.startsWith(UPLOAD_PREFIX);
      const isLeft = name.startsWith(ORPHAN_PREFIX) || name.startsWith(REMOVED_PREFIX);
      if (!isUpload && !isLeft) continue;
      if (isUpload && (await this.#manifestIn(path)) !== undefined) {
        const orphan = `${ORPHAN_PREFIX}${name.slice(UPLOAD_PREFIX.length)}`;
        await this.fileSystem.rename(path, join(staging, orphan));
      } else {
        await this.fileSystem.removeTree(path);
        this.#logger.info('image.staging.removed', { name });
      }
    }
    await this.fileSystem.syncDirectory(staging);
    await this.fileSystem.syncDirectory(root);
  }

  /**
   * Takes in a raw image. It stays apart, and survives a restart, until commitImport gives it its number.
   * @throws OperationError kind "invalid", "too-large", "no-space" or "unavailable"; whatever the source
   *   throws. Nothing remains then.
   */
  async importRaw(
    name: string,
    source: AsyncIterable<Uint8Array>,
    options: ImportOptions,
  ): Promise<ImportedImage> {
    checkName(name, 'an image');
    checkImageSize(options.sizeBytes);
    if (this.#imports >= MAX_IMPORTS) {
      throw new OperationError('too many images are being imported', {
        kind: 'unavailable',
        code: 'too-many-imports',
        got: this.#imports,
        accepted: `at most ${MAX_IMPORTS} at a time; try again later`,
      });
    }
    this.#imports++;
    const token = `${name}@${randomUUID()}`;
    const directory = this.directory.upload(token);
    try {
      await this.fileSystem.makeDirectory(directory);
      const made = await importIntoDirectory(this.fileSystem, directory, source, options);
      await this.fileSystem.syncDirectory(this.directory.staging);
      this.counters.add('image.imported');
      return { token, ...made };
    } catch (error) {
      await this.#removeQuietly(directory);
      throw explainNoSpace(error, `storing image ${name}`);
    } finally {
      this.#imports--;
    }
  }

  /** Makes an import the given version, durably and at once. @throws OperationError kind "conflict" */
  async commitImport(token: string, version: number): Promise<void> {
    const name = token.slice(0, token.lastIndexOf('@'));
    await this.commitDirectory(this.directory.upload(token), { name, version });
  }

  async discardImport(token: string): Promise<void> {
    await this.fileSystem.removeTree(this.directory.upload(token));
  }

  /**
   * Looks for an upload that an earlier start left complete, and makes it the version whose content it is.
   * @returns false when there is none
   */
  async adoptOrphan(ref: ImageVersionRef, manifestSha256: string): Promise<boolean> {
    for (const name of await this.fileSystem.list(this.directory.staging)) {
      if (!name.startsWith(`${ORPHAN_PREFIX}${ref.name}@`)) continue;
      const path = join(this.directory.staging, name);
      const manifest = await this.#manifestIn(path);
      if (manifest === undefined || (await sha256Hex(manifest)) !== manifestSha256) continue;
      await this.commitDirectory(path, ref);
      this.#logger.info('image.orphan.adopted', { ...ref });
      return true;
    }
    return false;
  }

  /** Moves a complete and durable directory into its place. */
  async commitDirectory(from: string, ref: ImageVersionRef): Promise<void> {
    const to = this.directory.version(ref);
    const parent = join(this.directory.images, ref.name);
    const manifest = await this.#manifestIn(from);
    const existing = await this.manifest(ref);
    if (existing !== undefined) {
      const isSame = manifest !== undefined && Buffer.compare(existing, manifest) === 0;
      if (isSame) return this.fileSystem.removeTree(from);
      throw new OperationError(`version ${ref.version} of image ${ref.name} exists with other content`, {
        kind: 'conflict',
        code: 'version-exists',
        got: ref.version,
      });
    }
    invariant(manifest !== undefined, `${from} is not a complete image`);
    await this.fileSystem.makeDirectory(parent);
    await this.fileSystem.syncDirectory(this.directory.images);
    await this.fileSystem.rename(from, to);
    await this.fileSystem.syncDirectory(parent);
    await this.fileSystem.syncDirectory(this.directory.staging);
  }

  /** What is here: whole versions, and such as are being fetched. */
  async versions(): Promise<ImageVersionRef[]> {
    const { images, staging } = this.directory;
    const refs = new Map<string, ImageVersionRef>();
    const note = (name: string, text: string): void => {
      if (isName(name) && /^[1-9]\d{0,9}$/.test(text))
        refs.set(`${name}@${text}`, { name, version: Number(text) });
    };
    for (const name of await this.fileSystem.list(images)) {
      for (const version of await this.fileSystem.list(join(images, name))) note(name, version);
    }
    for (const entry of await this.fileSystem.list(staging)) {
      const at = entry.lastIndexOf('@');
      if (entry.startsWith(FETCH_PREFIX)) note(entry.slice(FETCH_PREFIX.length, at), entry.slice(at + 1));
    }
    return [...refs.values()];
  }

  /**
   * Removes a version, and what has been fetched of it: whole, by one rename, as it came to be. Whoever has it open reads on,
   * and its room comes back when they have closed it.
   */
  async remove(ref: ImageVersionRef): Promise<void> {
    const { images, staging } = this.directory;
    const out = this.directory.removed(ref);
    await this.fileSystem.removeTree(this.directory.fetch(ref));
    await this.fileSystem.removeTree(out);
    try {
      await this.fileSystem.rename(this.directory.version(ref), out);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    this.forgetManifest();
    if (await this.#isThere(join(images, ref.name)))
      await this.fileSystem.syncDirectory(join(images, ref.name));
    await this.fileSystem.syncDirectory(staging);
    await this.fileSystem.removeTree(out);
    this.counters.add('image.removed');
  }

  async #isThere(directory: string): Promise<boolean> {
    try {
      await this.fileSystem.list(directory);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /**
   * Every read is compared with checksums, see VerifiedImage.
   * @throws DeviceError kind "medium-error" for a manifest that is damaged and that no other node has given
   */
  async open(ref: ImageVersionRef): Promise<OpenImage | undefined> {
    const encoded = await this.#soundManifest(ref);
    if (encoded === undefined) return undefined;
    const manifest = ImageManifest.decode(encoded);
    const raw = await this.#openFile(ref, manifest.sizeBytes);
    if (raw === undefined) return undefined;
    const mend = this.#mend;
    return new VerifiedImage(raw, {
      manifest,
      checksums: (await this.pageChecksums(ref, manifest, encoded)) ?? PageChecksums.of(manifest),
      what: `image ${ref.name} version ${ref.version}`,
      mend: mend === undefined ? undefined : (chunk) => mend(ref, chunk),
    });
  }

  /** The one that the cluster agreed on, mended where this node's is another. */
  async #soundManifest(ref: ImageVersionRef): Promise<Uint8Array | undefined> {
    const wanted = this.#manifestSha256?.(ref);
    const known = await this.manifest(ref);
    if (known === undefined || wanted === undefined || (await sha256Hex(known)) === wanted) return known;
    await this.#mend?.(ref, 'manifest');
    const mended = await this.manifest(ref);
    if (mended !== undefined && (await sha256Hex(mended)) === wanted) return mended;
    const message = `the manifest of image ${ref.name} version ${ref.version} is damaged, and no other node has given it`;
    throw new DeviceError('medium-error', message);
  }

  /** Those kept beside the image; undefined where they are not, or are not as they were written. */
  async pageChecksums(
    ref: ImageVersionRef,
    manifest: ImageManifest,
    encoded: Uint8Array,
  ): Promise<PageChecksums | undefined> {
    const known = await readWhole(this.fileSystem, join(this.directory.version(ref), PAGES_FILE));
    return known === undefined ? undefined : PageChecksums.decode(known, manifest, await sha256(encoded));
  }

  /** Puts such checksums beside the image, of which all chunks must be known. */
  async keepPageChecksums(
    ref: ImageVersionRef,
    checksums: PageChecksums,
    encoded: Uint8Array,
  ): Promise<void> {
    const directory = this.directory.version(ref);
    const temporary = join(directory, `${PAGES_FILE}.tmp`);
    await writeWhole(this.fileSystem, temporary, checksums.encode(await sha256(encoded)));
    await this.fileSystem.rename(temporary, join(directory, PAGES_FILE));
    await this.fileSystem.syncDirectory(directory);
  }

  /** The manifest on the disk has been replaced. */
  forgetManifest(): void {
    this.#recent = undefined;
  }

  /** What the file holds, compared with nothing. */
  async openRaw(ref: ImageVersionRef): Promise<OpenImage | undefined> {
    const manifest = await this.#decodedManifest(ref);
    return manifest === undefined ? undefined : this.#openFile(ref, manifest.sizeBytes);
  }

  async #openFile(ref: ImageVersionRef, sizeBytes: number): Promise<OpenImage | undefined> {
    const path = join(this.directory.version(ref), RAW_FILE);
    const file = await openIfThere(this.fileSystem, path);
    if (file === undefined) return undefined;
    return new RawImage(file, sizeBytes, `image ${ref.name} version ${ref.version}`);
  }

  /** The manifest's bytes, for another node; undefined when the version is not held here. */
  manifest(ref: ImageVersionRef): Promise<Uint8Array | undefined> {
    return this.#manifestIn(this.directory.version(ref));
  }

  /** One chunk's bytes, for another node, which checks them; undefined when there is no such chunk here. */
  async readChunk(ref: ImageVersionRef, index: number): Promise<Uint8Array | undefined> {
    const manifest = await this.#decodedManifest(ref);
    if (manifest === undefined || index < 0 || index >= manifest.chunkCount) return undefined;
    const image = await this.openRaw(ref);
    try {
      return await image?.read(index * manifest.chunkSizeBytes, manifest.chunkLengthBytes(index));
    } finally {
      await image?.close();
    }
  }

  /** Whether this node holds the version with that content. */
  async holds(ref: ImageVersionRef, manifestSha256: string): Promise<boolean> {
    const manifest = await this.manifest(ref);
    return manifest !== undefined && (await sha256Hex(manifest)) === manifestSha256;
  }

  /** Reads a whole version and compares every chunk with its SHA-256. */
  async verify(ref: ImageVersionRef, manifestSha256: string): Promise<VerifyResult> {
    const encoded = await this.manifest(ref);
    const image = encoded === undefined ? undefined : await this.openRaw(ref);
    if (encoded === undefined || image === undefined) return { outcome: 'not-held' };
    try {
      if ((await sha256Hex(encoded)) !== manifestSha256) return { outcome: 'damaged', chunks: [] };
      const manifest = ImageManifest.decode(encoded);
      const damaged: number[] = [];
      for (let i = 0; i < manifest.chunkCount; i++) {
        if (!(await this.#isSound(image, manifest, i))) damaged.push(i);
      }
      return damaged.length === 0 ? { outcome: 'sound' } : { outcome: 'damaged', chunks: damaged };
    } finally {
      await image.close();
    }
  }

  async #isSound(image: OpenImage, manifest: ImageManifest, index: number): Promise<boolean> {
    try {
      const chunk = await image.read(index * manifest.chunkSizeBytes, manifest.chunkLengthBytes(index));
      return await isChunk(chunk, manifest, index);
    } catch (error) {
      this.#logger.warn('image.chunk.unreadable', { index, error: describeError(error) });
      return false;
    }
  }

  #manifestIn(directory: string): Promise<Uint8Array | undefined> {
    return readWhole(this.fileSystem, join(directory, MANIFEST_FILE));
  }

  async #decodedManifest(ref: ImageVersionRef): Promise<ImageManifest | undefined> {
    const key = `${ref.name}@${ref.version}`;
    if (this.#recent?.key === key) return this.#recent.manifest;
    const encoded = await this.manifest(ref);
    if (encoded === undefined) return undefined;
    const manifest = ImageManifest.decode(encoded);
    this.#recent = { key, manifest };
    return manifest;
  }

  async #removeQuietly(path: string): Promise<void> {
    try {
      await this.fileSystem.removeTree(path);
    } catch (error) {
      // The next start removes it; the first error is the one to tell of.
      this.#logger.warn('image.staging.not-removed', { path, error: describeError(error) });
    }
  }
}
