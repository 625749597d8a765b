import { mkdir, mkdtemp, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describeError, OperationError } from '../../base/errors.ts';
import { loadLibc } from '../net/libc.ts';
import type { WritesMode } from './options.ts';

/** The file that writes belong to, as it was when they began. */
export interface SourceFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** source.json in a writes directory. */
interface SourceNote extends SourceFile {
  /** The file is being changed by us: its time of modification says nothing. */
  readonly merging: boolean;
}

const NOTE_FILE = 'source.json';
const LOCK_FILE = 'lock';
const LOCK_EX_NB = 2 | 4;

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
    const path = join(parent ?? dirname(source.path), `${basename(source.path)}.writes`);
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

/** @throws OperationError kind "invalid" unless it is a file that can be a disk */
export async function findSource(path: string): Promise<SourceFile> {
  const refuse = (message: string, got: unknown): OperationError =>
    new OperationError(message, {
      kind: 'invalid',
      code: 'bad-file',
      got,
      accepted: 'a readable regular file whose size is a positive multiple of 512 bytes',
    });
  const unreadable = (error: unknown): OperationError =>
    refuse(`${path} cannot be read: ${describeError(error)}`, path);
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(error);
  });
  // Before it is opened: to open a named pipe waits for whoever writes to it.
  if (!found.isFile()) throw refuse(`${path} is not a regular file`, path);
  try {
    await (await open(path, 'r')).close();
  } catch (error) {
    throw unreadable(error);
  }
  if (found.size === 0 || found.size % 512 !== 0)
    throw refuse(`${path} has ${found.size} bytes and cannot be a disk`, found.size);
  return { path, sizeBytes: found.size, modifiedMs: found.mtimeMs };
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
  if (loadLibc().flock(file.fd, LOCK_EX_NB) === 0) {
    held.push(file);
    return;
  }
  await file.close();
  throw new OperationError(`${path} is in use by another process`, {
    kind: 'conflict',
    code: 'writes-in-use',
    got: path,
    accepted: 'one process for each file',
  });
}

/** Kept from being collected, which would close them. */
const held: unknown[] = [];
