import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { CounterSet, type Counters } from '../../base/counters.ts';
import { OperationError } from '../../base/errors.ts';
import { type FileSystem, nodeFileSystem } from '../log/file-system.ts';
import { writeWhole } from '../log/whole-file.ts';
import { sha256Hex } from './content-hash.ts';
import { checkName, explainNoSpace, readWhole } from './image-directory.ts';
import { MAX_BOOT_FILE_BYTES } from './limits.ts';

export interface BootFileStoreOptions {
  /** The store's own; made by start when missing. */
  readonly directory: string;
  readonly fileSystem?: FileSystem;
  readonly counters?: Counters;
}

export interface StoredBootFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

const SHA256 = /^[0-9a-f]{64}$/;
const TEMPORARY_SUFFIX = '.tmp';

/** Small files (network boot programs), each under its SHA-256; the cluster knows which name means which. */
export class BootFileStore {
  readonly #directory: string;
  readonly #fileSystem: FileSystem;
  readonly #counters: Counters;

  constructor(options: BootFileStoreOptions) {
    this.#directory = options.directory;
    this.#fileSystem = options.fileSystem ?? nodeFileSystem;
    this.#counters = options.counters ?? new CounterSet();
  }

  /** Makes the folder and removes what broken-off writes have left. */
  async start(): Promise<void> {
    await this.#fileSystem.makeDirectory(this.#directory);
    for (const name of await this.#fileSystem.list(this.#directory)) {
      if (name.endsWith(TEMPORARY_SUFFIX)) await this.#fileSystem.remove(join(this.#directory, name));
    }
  }

  /**
   * Stores a file durably and at once.
   * @throws OperationError kind "invalid" (name), "too-large" or "no-space"
   */
  async put(name: string, content: Uint8Array): Promise<StoredBootFile> {
    checkName(name, 'a boot file');
    if (content.length > MAX_BOOT_FILE_BYTES) {
      throw new OperationError(`boot file ${name} has ${content.length} bytes`, {
        kind: 'too-large',
        code: 'boot-file-too-large',
        got: content.length,
        accepted: `up to ${MAX_BOOT_FILE_BYTES} bytes`,
      });
    }
    const sha256 = await sha256Hex(content);
    const stored = { name, sizeBytes: content.length, sha256 };
    if ((await this.get(sha256)) !== undefined) return stored;
    const temporary = join(this.#directory, `${randomUUID()}${TEMPORARY_SUFFIX}`);
    try {
      await writeWhole(this.#fileSystem, temporary, content);
      await this.#fileSystem.rename(temporary, join(this.#directory, sha256));
      await this.#fileSystem.syncDirectory(this.#directory);
    } catch (error) {
      await this.#fileSystem.removeTree(temporary);
      throw explainNoSpace(error, `storing boot file ${name}`);
    }
    return stored;
  }

  /** It is no error when it is not here. */
  async remove(sha256: string): Promise<void> {
    if (!SHA256.test(sha256)) return;
    await this.#fileSystem.removeTree(join(this.#directory, sha256));
    await this.#fileSystem.syncDirectory(this.#directory);
  }

  /** @returns undefined when it is not held here, or is held damaged (which is counted) */
  async get(sha256: string): Promise<Uint8Array | undefined> {
    if (!SHA256.test(sha256)) return undefined;
    const content = await readWhole(this.#fileSystem, join(this.#directory, sha256));
    if (content === undefined || (await sha256Hex(content)) === sha256) return content;
    this.#counters.add('boot-file.damaged');
    return undefined;
  }
}
