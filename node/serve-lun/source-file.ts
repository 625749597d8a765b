import { open, stat } from 'node:fs/promises';
import { describeError, OperationError } from '../../base/errors.ts';
import { type FileLockKind, lockFile } from './file-lock.ts';
import type { WritesMode } from './options.ts';

/** A file to be served, as it was when it was looked at. */
export interface SourceFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** A file that does not change but by whoever holds it. */
export interface HeldSource {
  /** As it is since it is held. */
  readonly source: SourceFile;
  release(): Promise<void>;
}

/** @throws OperationError kind "invalid" unless it is a file that can be a disk */
export async function findSource(path: string): Promise<SourceFile> {
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  // Before it is opened: to open a named pipe waits for whoever writes to it.
  if (!found.isFile()) throw badFile(`${path} is not a regular file`, path);
  try {
    await (await open(path, 'r')).close();
  } catch (error) {
    throw unreadable(path, error);
  }
  if (found.size === 0 || found.size % 512 !== 0)
    throw badFile(`${path} has ${found.size} bytes and cannot be a disk`, found.size);
  return { path, sizeBytes: found.size, modifiedMs: found.mtimeMs };
}

/**
 * Takes hold of a file: as long as it is only read, beside others that read it, with logs of their own; alone where writes are
 * to be merged into it, for that changes the disks of all others.
 * @throws OperationError kind "conflict" when another process stands against it, "invalid" when it cannot be a disk
 */
export async function holdSource(path: string, mode: WritesMode): Promise<HeldSource> {
  const kind: FileLockKind = mode === 'merge' ? 'exclusive' : 'shared';
  // A network file system locks exclusively only what is open for writing.
  const file = await open(path, kind === 'exclusive' ? 'r+' : 'r').catch((error: unknown) => {
    throw kind === 'exclusive' ? unwritable(path, error) : unreadable(path, error);
  });
  try {
    const outcome = lockFile(file, kind);
    if (outcome === 'in-use') throw inUse(path, kind);
    // Where nobody can merge, nobody has to be kept from it.
    if (outcome === 'no-locks' && kind === 'exclusive') throw withoutLocks(path);
    // Until it was held, it may have changed.
    return { source: await findSource(path), release: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function badFile(message: string, got: unknown): OperationError {
  return new OperationError(message, {
    kind: 'invalid',
    code: 'bad-file',
    got,
    accepted: 'a readable regular file whose size is a positive multiple of 512 bytes',
  });
}

function unreadable(path: string, error: unknown): OperationError {
  return badFile(`${path} cannot be read: ${describeError(error)}`, path);
}

function unwritable(path: string, error: unknown): OperationError {
  return new OperationError(`nothing can be merged into ${path}: ${describeError(error)}`, {
    kind: 'invalid',
    code: 'bad-file',
    got: path,
    accepted: 'a file that may be written; or --writes keep or discard, which leave it as it is',
  });
}

function inUse(path: string, kind: FileLockKind): OperationError {
  const merging = kind === 'exclusive';
  const message = merging
    ? `${path} is in use by another process, under which it must not change`
    : `${path} is in use by another process, which merges writes into it`;
  return new OperationError(message, {
    kind: 'conflict',
    code: 'file-in-use',
    got: path,
    accepted: merging
      ? '--writes merge once that process has ended; --writes keep or discard beside it'
      : 'the file once that process has ended',
  });
}

function withoutLocks(path: string): OperationError {
  return new OperationError(
    `${path} is where files cannot be locked, so that others may serve it meanwhile`,
    {
      kind: 'conflict',
      code: 'no-locks',
      got: '--writes merge',
      accepted: '--writes keep or discard; or a file on a file system with flock(2)',
    },
  );
}
