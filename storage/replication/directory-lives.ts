import { join } from 'node:path';
import type { RandomSource } from '../../base/random.ts';
import { type FileSystem, isMissing, isNoSpace } from '../log/file-system.ts';
import { replaceFile } from '../log/whole-file.ts';
import { LIFE_BYTES, MAX_DIRECTORY_LIVES } from './limits.ts';

const FILE = 'lives';
const FORM = /^([0-9a-f]{16}\n)+$/;

export interface DirectoryLivesOptions {
  readonly fileSystem: FileSystem;
  /** Holds one directory for each portal group. */
  readonly groupsDirectory: string;
  readonly random: RandomSource;
}

/** A life of a group's directory, and those that the cluster may know it by still. */
export interface BegunLife {
  readonly life: string;
  /** The oldest first. */
  readonly former: readonly string[];
}

/**
 * The lives of the directories that hold a node's copies of portal groups. Each process that opens a directory begins a life
 * of it, random, and durable in the directory before the cluster hears of it. The cluster commits it with the process's
 * registration; until that is known the former ones stay beside it, for either may be the one that was committed. So a
 * directory as it was before its last life knows nothing of the life that the cluster knows it by (docs/adr/0027).
 */
export class DirectoryLives {
  readonly #options: DirectoryLivesOptions;

  constructor(options: DirectoryLivesOptions) {
    this.#options = options;
  }

  /**
   * To be called once by each process. The directory must be there.
   * @returns undefined where there is no room for it, and none has been begun before
   * @throws Error as the file system does
   */
  async begin(groupId: string): Promise<BegunLife | undefined> {
    const { fileSystem, random } = this.#options;
    const known = await readLives(fileSystem, this.#directory(groupId));
    if (known.length >= MAX_DIRECTORY_LIVES) return continued(known);
    const life = Buffer.from(random.bytes(LIFE_BYTES)).toString('hex');
    try {
      await this.#write(groupId, [...known, life]);
    } catch (error) {
      // A disk without room must not keep the node from starting. The last life goes on then, as if its process did.
      if (!isNoSpace(error)) throw error;
      return continued(known);
    }
    return { life, former: known };
  }

  /**
   * The cluster knows the directory by this life, and will never again by a former one.
   * @throws Error as the file system does
   */
  async settle(groupId: string, life: string): Promise<void> {
    const known = await readLives(this.#options.fileSystem, this.#directory(groupId));
    // Whoever has another one is not the directory that the life was begun of.
    if (known.length < 2 || known.at(-1) !== life) return;
    try {
      await this.#write(groupId, [life]);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
    }
  }

  #directory(groupId: string): string {
    return join(this.#options.groupsDirectory, groupId);
  }

  async #write(groupId: string, lives: readonly string[]): Promise<void> {
    const content = Buffer.from(lives.map((life) => `${life}\n`).join(''), 'latin1');
    await replaceFile(this.#options.fileSystem, this.#directory(groupId), FILE, content);
  }
}

/** Nothing new is begun: what is missed for it is only that a copy made since then is taken for the present one. */
function continued(known: readonly string[]): BegunLife | undefined {
  const life = known.at(-1);
  return life === undefined ? undefined : { life, former: known.slice(0, -1) };
}

/** What the cluster may know a directory by, the oldest first. A file that is damaged proves nothing: none then. */
export async function readLives(fileSystem: FileSystem, directory: string): Promise<string[]> {
  try {
    const file = await fileSystem.open(join(directory, FILE));
    try {
      const bytes = new Uint8Array(MAX_DIRECTORY_LIVES * (2 * LIFE_BYTES + 1) + 1);
      const text = Buffer.from(bytes.subarray(0, await file.read(bytes, 0))).toString('latin1');
      return FORM.test(text) ? text.trimEnd().split('\n') : [];
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
