import { mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describeError, OperationError } from '../../base/errors.ts';
import { lockFile } from './file-lock.ts';
import type { WritesMode } from './options.ts';
import type { SourceFile } from './source-file.ts';

/** source.json in a writes directory. */
interface SourceNote extends SourceFile {
  /** The file is being changed by us: its time of modification says nothing. */
  readonly merging: boolean;
}

const NOTE_FILE = 'source.json';
const LOCK_FILE = 'lock';

/**
 * Where the writes to one file go. Held by one process at a time, and bound to the file as it was: over other
 * content they would make a disk that never was.
 */
export class WritesDirectory {
  readonly path: string;
  readonly #source: SourceFile;
  readonly #removedAtEnd: boolean;
  readonly #isNew: boolean;

  private constructor(path: string, source: SourceFile, life: { removedAtEnd: boolean; isNew: boolean }) {
    this.path = path;
    this.#source = source;
    this.#removedAtEnd = life.removedAtEnd;
    this.#isNew = life.isNew;
  }

  /**
   * @param parent undefined: beside the file
   * @throws OperationError when the directory cannot be made or is in use, when it belongs to other content, or
   *   when writes of an earlier run stand in the way of discarding those of this one
   */
  static async open(
    source: SourceFile,
    mode: WritesMode,
    parent: string | undefined,
  ): Promise<WritesDirectory> {
    const path = writesPath(source, parent);
    const note = await readNote(path);
    if (mode === 'discard') {
      if (note !== undefined) throw inTheWay(path, source);
      const made = await make(path, () => mkdtemp(`${path}-`));
      return new WritesDirectory(made, source, { removedAtEnd: true, isNew: true });
    }
    if (note !== undefined) checkNote(note, source, path);
    await make(path, () => mkdir(path, { recursive: true }));
    await lock(path);
    const directory = new WritesDirectory(path, source, { removedAtEnd: false, isNew: note === undefined });
    if (note === undefined) await directory.#writeNote(false);
    return directory;
  }

  /** To be called before the file is changed. */
  beginMerge(): Promise<void> {
    return this.#writeNote(true);
  }

  /** Drops the writes: they are in the file. */
  async endMerge(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  /** The run is over. @param served false when it came to nothing, so that nothing can have been written */
  async close(served: boolean): Promise<void> {
    if (this.#removedAtEnd || (this.#isNew && !served)) await rm(this.path, { recursive: true, force: true });
  }

  async #writeNote(merging: boolean): Promise<void> {
    const note: SourceNote = { ...this.#source, merging };
    const to = join(this.path, NOTE_FILE);
    const file = await open(`${to}.new`, 'w', 0o600);
    try {
      await writeFile(file, `${JSON.stringify(note)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${to}.new`, to);
  }
}

/** Where the writes to a file are kept. @param parent undefined: beside it */
export function writesPath({ path }: Pick<SourceFile, 'path'>, parent: string | undefined): string {
  return join(parent ?? dirname(path), `${basename(path)}.writes`);
}

async function readNote(path: string): Promise<SourceNote | undefined> {
  let text: string;
  try {
    text = await readFile(join(path, NOTE_FILE), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw notUsable(path, error);
  }
  try {
    return JSON.parse(text) as SourceNote;
  } catch {
    throw new OperationError(`${join(path, NOTE_FILE)} is damaged`, {
      kind: 'conflict',
      code: 'bad-writes',
      got: path,
      accepted: 'a directory that serve-lun made; remove it to give up the writes in it',
    });
  }
}

function checkNote(note: SourceNote, source: SourceFile, path: string): void {
  const isSame =
    note.sizeBytes === source.sizeBytes && (note.merging || note.modifiedMs === source.modifiedMs);
  if (isSame) return;
  throw new OperationError(`${source.path} has changed since writes to it were kept in ${path}`, {
    kind: 'conflict',
    code: 'file-changed',
    got: `${source.sizeBytes} bytes, modified ${new Date(source.modifiedMs).toISOString()}`,
    accepted: `the file as it was (${note.sizeBytes} bytes, modified ${new Date(note.modifiedMs).toISOString()}); or remove ${path} to give up the writes`,
  });
}

function inTheWay(path: string, source: SourceFile): OperationError {
  return new OperationError(`writes to ${source.path} of an earlier run are kept in ${path}`, {
    kind: 'conflict',
    code: 'writes-kept',
    got: '--writes discard',
    accepted: `--writes keep or merge to go on with them; or remove ${path} to give them up`,
  });
}

async function make<T>(path: string, making: () => Promise<T>): Promise<T> {
  try {
    return await making();
  } catch (error) {
    throw notUsable(path, error);
  }
}

function notUsable(path: string, error: unknown): OperationError {
  return new OperationError(`${path} cannot be used for writes: ${describeError(error)}`, {
    kind: 'invalid',
    code: 'no-writes-directory',
    got: path,
    accepted: '--write-log DIR, a directory that may be written',
  });
}

/** Held until this process ends, however it does. */
async function lock(path: string): Promise<void> {
  const file = await open(join(path, LOCK_FILE), 'w', 0o600);
  const outcome = lockFile(file, 'exclusive');
  if (outcome === 'locked') {
    held.push(file);
    return;
  }
  await file.close();
  if (outcome === 'no-locks') throw notUsable(path, 'files cannot be locked there');
  throw new OperationError(`${path} is in use by another process`, {
    kind: 'conflict',
    code: 'writes-in-use',
    got: path,
    accepted: 'one process for each log of writes; --write-log DIR for another one of the same file',
  });
}

/** Kept from being collected, which would close them. */
const held: unknown[] = [];
