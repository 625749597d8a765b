import { join } from 'node:path';
import { describeError } from '../../base/errors.ts';
import { LogFailure } from '../../base/record-log.ts';
import { type FileSystem, isMissing, isNoSpace, type OpenFile } from '../log/file-system.ts';
import type { ReadCheckpointBytes } from '../lun/index-checkpoint.ts';

/** Keeps one checkpoint per group. A new one takes the place of the last as a whole, or not at all. */
export interface CheckpointStore {
  /** Of the directory that holds the group's log, different for each that there ever was. */
  logId(groupId: string): Promise<string>;
  /** Calls `use` with the checkpoint's bytes; undefined when there is none. */
  read<T>(groupId: string, use: (read: ReadCheckpointBytes) => Promise<T>): Promise<T | undefined>;
  /** The last one stays until the new one is put in its place. */
  begin(groupId: string): Promise<CheckpointWriter>;
  remove(groupId: string): Promise<void>;
}

export interface CheckpointWriter {
  write(parts: readonly Uint8Array[]): Promise<void>;
  /** Resolves once it is durable and in place of the last one. @throws LogFailure when it could not be made so */
  commit(): Promise<void>;
  /** Nothing of it is left. */
  abandon(): Promise<void>;
}

const FILE = 'index.checkpoint';

/** Checkpoints as files beside the logs of which they are made. */
export class CheckpointDirectory implements CheckpointStore {
  readonly #fileSystem: FileSystem;
  readonly #groupsDirectory: string;
  readonly #logId: (groupId: string) => Promise<string>;

  constructor(fileSystem: FileSystem, groupsDirectory: string, logId: (groupId: string) => Promise<string>) {
    this.#fileSystem = fileSystem;
    this.#groupsDirectory = groupsDirectory;
    this.#logId = logId;
  }

  logId(groupId: string): Promise<string> {
    return this.#logId(groupId);
  }

  async read<T>(groupId: string, use: (read: ReadCheckpointBytes) => Promise<T>): Promise<T | undefined> {
    let file: OpenFile;
    try {
      file = await this.#fileSystem.open(this.#path(groupId));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      return await use((into, offsetBytes) => file.read(into, offsetBytes));
    } finally {
      await file.close();
    }
  }

  async begin(groupId: string): Promise<CheckpointWriter> {
    const path = this.#path(groupId);
    const aside = `${path}.new`;
    const fileSystem = this.#fileSystem;
    const file = await fileSystem.create(aside);
    let offset = 0;
    return {
      write: async (parts) => {
        await file.write(parts, offset);
        for (const { length } of parts) offset += length;
      },
      commit: async () => {
        try {
          await file.syncData();
        } catch (error) {
          // All of it is written anew where there was no space for it. But that a disk has failed once is all that it says.
          throw isNoSpace(error) ? error : notDurable(error);
        } finally {
          await file.close();
        }
        await fileSystem.rename(aside, path);
        try {
          await fileSystem.syncDirectory(join(this.#groupsDirectory, groupId));
        } catch (error) {
          throw notDurable(error);
        }
      },
      abandon: async () => {
        await file.close();
        await fileSystem.removeTree(aside);
      },
    };
  }

  async remove(groupId: string): Promise<void> {
    const path = this.#path(groupId);
    await this.#fileSystem.removeTree(`${path}.new`);
    await this.#fileSystem.removeTree(path);
  }

  #path(groupId: string): string {
    return join(this.#groupsDirectory, groupId, FILE);
  }
}

function notDurable(error: unknown): LogFailure {
  return new LogFailure(`making a checkpoint durable failed: ${describeError(error)}`, { cause: error });
}
