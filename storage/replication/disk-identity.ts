import { join } from 'node:path';
import { invariant } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { RandomSource } from '../../base/random.ts';
import { type FileSystem, isMissing } from '../log/file-system.ts';
import { replaceFile } from '../log/whole-file.ts';
import { DISK_ID_BYTES } from './limits.ts';

const FILE = 'disk.id';
const FORM = /^[0-9a-f]+\n$/;

export interface DiskIdentityOptions {
  readonly fileSystem: FileSystem;
  /** Holds one directory for each portal group. */
  readonly groupsDirectory: string;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** A group's own directory, and what else its name allows. */
const GROUP_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/**
 * The directories that hold a node's copies of portal groups. Each has an id: random, made with the directory and
 * durable before anything is in it. A directory that was wiped, or a disk that is not mounted, thus gets another
 * one, and the cluster does not take it for the copy that was in sync.
 */
export class DiskIdentities {
  readonly #options: DiskIdentityOptions;

  constructor(options: DiskIdentityOptions) {
    this.#options = options;
  }

  /** Groups whose directory is here and has an id. */
  async present(): Promise<string[]> {
    const { fileSystem, groupsDirectory } = this.#options;
    await fileSystem.makeDirectory(groupsDirectory);
    const groups: string[] = [];
    for (const name of (await fileSystem.list(groupsDirectory)).sort()) {
      if (!GROUP_NAME.test(name) || name.endsWith('.meta') || name.endsWith('.meta.new')) continue;
      const id = await readId(fileSystem, join(groupsDirectory, name, FILE));
      if (id !== undefined) groups.push(name);
    }
    return groups;
  }

  /**
   * The id of a group's directory, which is made if there is none.
   * @throws Error as the file system does; nothing is known of the directory then
   */
  async identify(groupId: string): Promise<string> {
    invariant(GROUP_NAME.test(groupId), `"${groupId}" can be a directory's name`);
    const { fileSystem, groupsDirectory, random, logger } = this.#options;
    const directory = join(groupsDirectory, groupId);
    const known = await readId(fileSystem, join(directory, FILE));
    if (known !== undefined && FORM.test(known)) return known.trimEnd();
    // One that cannot be read is no proof of anything: the copy counts as another one.
    if (known !== undefined) logger.error('replication.disk-id-damaged', { group: groupId, got: known });
    const id = Buffer.from(random.bytes(DISK_ID_BYTES)).toString('hex');
    await fileSystem.makeDirectory(groupsDirectory);
    await fileSystem.makeDirectory(directory);
    await replaceFile(fileSystem, directory, FILE, Buffer.from(`${id}\n`, 'latin1'));
    await fileSystem.syncDirectory(groupsDirectory);
    logger.info('replication.disk-identified', { group: groupId, disk: id });
    return id;
  }
}

/** The id of a directory of a group; undefined: it has none, or one that is damaged. */
export async function readDiskId(fileSystem: FileSystem, directory: string): Promise<string | undefined> {
  const text = await readId(fileSystem, join(directory, FILE));
  return text !== undefined && FORM.test(text) ? text.trimEnd() : undefined;
}

async function readId(fileSystem: FileSystem, path: string): Promise<string | undefined> {
  try {
    const file = await fileSystem.open(path);
    try {
      const bytes = new Uint8Array(2 * DISK_ID_BYTES + 2);
      const length = await file.read(bytes, 0);
      return Buffer.from(bytes.subarray(0, length)).toString('latin1');
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
