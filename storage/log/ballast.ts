import { join } from 'node:path';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { type FileSystem, isMissing, isNoSpace, type OpenFile } from './file-system.ts';
import { BALLAST_PARTS, BALLAST_PIECE_BYTES, BALLAST_ROOM_PARTS, MAX_BALLAST_BYTES } from './limits.ts';

const NAME = 'ballast';
const UNFINISHED_NAME = 'ballast.new';

/**
 * A file of no use but for the room it takes. On a disk without a byte left, whoever filled it, nothing can be opened that
 * repairs itself when it is opened; a process that starts there lets go of this first.
 */
export class Ballast {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #logger: Logger;

  constructor(fileSystem: FileSystem, directory: string, logger: Logger) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
    this.#logger = logger;
  }

  /** Lets go of it where there is less room than it takes. To be called before anything else is opened. */
  async letGoIfNeeded(): Promise<void> {
    await this.#remove(UNFINISHED_NAME);
    const { freeBytes, totalBytes } = await this.#space();
    if (freeBytes >= ballastBytes(totalBytes)) return;
    const isRemoved = await this.#remove(NAME);
    const event = isRemoved ? 'disk.ballast-let-go' : 'disk.full-without-ballast';
    this.#logger.error(event, { directory: this.#directory, freeBytes });
  }

  /**
   * Makes it where there is none, and room for it and for much else.
   * @returns whether it is there now
   */
  async makeIfRoom(): Promise<boolean> {
    const names = await this.#fileSystem.list(this.#directory);
    if (names.includes(NAME)) return true;
    const { freeBytes, totalBytes } = await this.#space();
    const sizeBytes = ballastBytes(totalBytes);
    if (freeBytes < sizeBytes + totalBytes / BALLAST_ROOM_PARTS) return false;
    try {
      await this.#make(sizeBytes);
      return true;
    } catch (error) {
      await this.#remove(UNFINISHED_NAME);
      if (!isNoSpace(error)) {
        this.#logger.warn('disk.no-ballast', { directory: this.#directory, reason: describeError(error) });
      }
      return false;
    }
  }

  async #make(sizeBytes: number): Promise<void> {
    const unfinished = join(this.#directory, UNFINISHED_NAME);
    const file = await this.#fileSystem.create(unfinished);
    try {
      await fill(file, sizeBytes);
      await file.syncData();
    } finally {
      await file.close();
    }
    await this.#fileSystem.rename(unfinished, join(this.#directory, NAME));
    await this.#fileSystem.syncDirectory(this.#directory);
  }

  #space(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    return this.#fileSystem.space(this.#directory);
  }

  async #remove(name: string): Promise<boolean> {
    try {
      await this.#fileSystem.remove(join(this.#directory, name));
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }
}

export function ballastBytes(totalBytes: number): number {
  return Math.floor(Math.min(MAX_BALLAST_BYTES, totalBytes / BALLAST_PARTS));
}

/** With what no file system takes for a hole, or makes smaller by much. */
async function fill(file: OpenFile, sizeBytes: number): Promise<void> {
  const piece = Buffer.alloc(BALLAST_PIECE_BYTES);
  let state = 1;
  for (let at = 0; at < piece.length; at += 4) {
    // Xorshift (Marsaglia 2003): no byte of it follows from those near to it.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    piece.writeInt32LE(state, at);
  }
  for (let at = 0; at < sizeBytes; at += piece.length) {
    await file.write([piece.subarray(0, Math.min(piece.length, sizeBytes - at))], at);
  }
}
