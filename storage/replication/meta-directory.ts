import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invariant } from '../../base/errors.ts';
import { LogFullError } from '../../base/record-log.ts';
import { isNoSpace, namingFile, nodeFileSystem } from '../log/file-system.ts';
import type { MetaStore } from './group-meta.ts';

/** One file per group, replaced as a whole: written aside, synced, renamed, and the directory synced. */
export class MetaDirectory implements MetaStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async load(groupId: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(groupId));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** @throws LogFullError when the file system is full; what was saved before is still there */
  async save(groupId: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(groupId);
    const aside = `${path}.new`;
    try {
      await this.#replace(path, aside, bytes);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      await rm(aside, { force: true });
      throw new LogFullError('the file system has no space for the meta file', { cause: error });
    }
  }

  async #replace(path: string, aside: string, bytes: Uint8Array): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const file = await open(aside, 'w', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } catch (error) {
      throw namingFile(error, file.fd);
    } finally {
      await file.close();
    }
    await rename(aside, path);
    await nodeFileSystem.syncDirectory(this.#directory);
  }

  #path(groupId: string): string {
    invariant(/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(groupId), `"${groupId}" can be a file name`);
    return join(this.#directory, `${groupId}.meta`);
  }
}
