import { fdatasync, readlinkSync, writevSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, statfs, unlink } from 'node:fs/promises';
// The global of that name is looked up by way of an accessor each time.
import { performance } from 'node:perf_hooks';
import { systemPageCache } from './page-cache.ts';
import { WritePace } from './write-pace.ts';

/**
 * What storage asks of a file system. It is a port so that tests can own crashes, torn writes and full disks.
 * Failures are Node's: errors with a `code` such as "ENOSPC" or "ENOENT".
 */
export interface FileSystem {
  /** With missing parents; it is no error when the directory exists. */
  makeDirectory(path: string): Promise<void>;
  /** Names (not paths) of a directory's entries, in no particular order. */
  list(directory: string): Promise<string[]>;
  /** Makes a new, empty file, in place of any earlier one. */
  create(path: string): Promise<OpenFile>;
  /** Opens an existing file for reading and writing. */
  open(path: string): Promise<OpenFile>;
  /** Replaces an existing file at `to`; both must be on one file system. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Removes a file or a directory with all it holds; it is no error when there is none. */
  removeTree(path: string): Promise<void>;
  /** Makes a directory's entries durable: files created, renamed and removed in it. */
  syncDirectory(path: string): Promise<void>;
  /** Of the file system that holds the path; what is free is what this process may still use. */
  space(path: string): Promise<{ readonly freeBytes: number; readonly totalBytes: number }>;
}

export interface OpenFile {
  sizeBytes(): Promise<number>;
  /** Fills `into`, or up to the end of the file. @returns bytes read */
  read(into: Uint8Array, offsetBytes: number): Promise<number>;
  /**
   * Fills all of `into` before it returns, where that needs no disk; left out where there is no such way.
   * @returns false when it did not; what is in `into` then means nothing
   */
  readNow?(into: Uint8Array, offsetBytes: number): boolean;
  /** Writes all parts one after another. When it fails, any part of them may have been written. */
  write(parts: readonly Uint8Array[], offsetBytes: number): Promise<void>;
  /** Whether writeNow would write so many bytes now: to be asked before a write is put together for it. */
  mayWriteNow?(sizeBytes: number): boolean;
  /**
   * The same before it returns, where that is likely to take microseconds; left out where there is no such way.
   * @returns false when nothing was written, since it may take longer
   */
  writeNow?(parts: readonly Uint8Array[], offsetBytes: number): boolean;
  /**
   * Has the system begin to write to the disk what was written there, so that a later syncData has less to wait for; left out
   * where there is no such way. It promises nothing.
   * @returns false when it was not begun, as while another file's is
   */
  writeOut?(offsetBytes: number, lengthBytes: number): boolean;
  truncate(sizeBytes: number): Promise<void>;
  /** fdatasync: the data, and the size needed to find it. */
  syncData(): Promise<void>;
  close(): Promise<void>;
}

/** True when an operation failed because the file system or a quota is full. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** True when a file or directory does not exist. */
export function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

/** What Linux says of a device that fails, or of a file system that has shut itself off because one does. */
const DEVICE_FAILURES: ReadonlySet<unknown> = new Set([
  'EIO',
  'EROFS',
  'ENXIO',
  'ENODEV',
  'EREMOTEIO',
  // EBADMSG and EUCLEAN, which Node has no names for.
  'Unknown system error -74',
  'Unknown system error -117',
]);

/** True when an operation failed because the device did, or where it is the cause of what has failed. */
export function isDeviceFailure(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (DEVICE_FAILURES.has(errorCode(at))) return true;
  }
  return false;
}

/**
 * Says of which file, as Node does only of calls that are given a path: for whoever has to look at a disk.
 * @param descriptor still open; by it the system knows what the file is called by now
 */
export function namingFile(error: unknown, descriptor: number): unknown {
  if (!(error instanceof Error) || 'path' in error) return error;
  try {
    const path = readlinkSync(`/proc/self/fd/${descriptor}`);
    error.message += ` '${path}'`;
    return Object.assign(error, { path });
  } catch {
    // What has failed counts, and not that its name is not to be had.
    return error;
  }
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** One for the whole process: how long the disk takes is the same for all files on it. */
const pace = new WritePace({ monotonicMs: () => performance.now(), wallMs: () => Date.now() });

/** The host's file system. */
export const nodeFileSystem: FileSystem = {
  async makeDirectory(path) {
    await mkdir(path, { recursive: true });
  },
  list: (directory) => readdir(directory),
  create: async (path) => new NodeFile(await open(path, 'w+')),
  open: async (path) => new NodeFile(await open(path, 'r+')),
  rename,
  remove: unlink,
  removeTree: (path) => rm(path, { recursive: true, force: true }),
  async syncDirectory(path) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } catch (error) {
      throw namingFile(error, handle.fd);
    } finally {
      await handle.close();
    }
  },
  async space(path) {
    const { bavail, blocks, bsize } = await statfs(path);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  },
};

/** A file of the host's that is only read, and may be one that this process must not write. */
export async function openToRead(path: string): Promise<OpenFile> {
  return new NodeFile(await open(path, 'r'));
}

class NodeFile implements OpenFile {
  readonly #handle: FileHandle;
  #hasReadNow = true;
  /** Resolves when the last call is done. */
  #writingOut: Promise<void> | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async sizeBytes(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  async read(into: Uint8Array, offsetBytes: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, offsetBytes + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  readNow(into: Uint8Array, offsetBytes: number): boolean {
    if (!this.#hasReadNow) return false;
    const found = systemPageCache().read(this.#handle.fd, into, offsetBytes);
    if (found === 'unsupported') this.#hasReadNow = false;
    return found === 'full';
  }

  async write(parts: readonly Uint8Array[], offsetBytes: number): Promise<void> {
    try {
      if (!this.writeNow(parts, offsetBytes)) await this.#writeAll(parts, offsetBytes);
    } catch (error) {
      throw namingFile(error, this.#handle.fd);
    }
  }

  async #writeAll(parts: readonly Uint8Array[], offsetBytes: number): Promise<void> {
    let left = parts.filter((part) => part.length > 0);
    let at = offsetBytes;
    while (left.length > 0) {
      const written = await this.#writeSome(left, at);
      at += written;
      left = dropFront(left, written);
    }
  }

  mayWriteNow(sizeBytes: number): boolean {
    return sizeBytes > 0 && pace.mayWriteAtOnce(sizeBytes);
  }

  writeNow(parts: readonly Uint8Array[], offsetBytes: number): boolean {
    let sizeBytes = 0;
    for (const { length } of parts) sizeBytes += length;
    if (!this.mayWriteNow(sizeBytes)) return false;
    const { fd } = this.#handle;
    const sinceMs = performance.now();
    let left = parts;
    for (let done = 0; done < sizeBytes; ) {
      const written = writevSync(fd, left, offsetBytes + done);
      done += written;
      if (done < sizeBytes) left = dropFront(left, written);
    }
    pace.wroteAtOnce(sinceMs);
    return true;
  }

  async #writeSome(parts: readonly Uint8Array[], at: number): Promise<number> {
    const first = parts[0];
    if (parts.length === 1 && first !== undefined) {
      return (await this.#handle.write(first, 0, first.length, at)).bytesWritten;
    }
    return (await this.#handle.writev(parts as Uint8Array[], at)).bytesWritten;
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#handle.truncate(sizeBytes);
  }

  syncData(): Promise<void> {
    const ended = pace.syncBegins();
    const { fd } = this.#handle;
    return new Promise((resolve, reject) => {
      fdatasync(fd, (error) => {
        ended();
        if (error === null) resolve();
        else reject(namingFile(error, fd));
      });
    });
  }

  writeOut(offsetBytes: number, lengthBytes: number): boolean {
    const writing = systemPageCache().writeOut(this.#handle.fd, offsetBytes, lengthBytes);
    if (writing !== undefined) this.#writingOut = writing;
    return writing !== undefined;
  }

  async close(): Promise<void> {
    // The number of a closed file may soon be another's.
    await this.#writingOut;
    await this.#handle.close();
  }
}

/** What is left of `parts` after the first `count` bytes (a write may be cut short). */
function dropFront(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let skip = count;
  for (const part of parts) {
    if (skip >= part.length) {
      skip -= part.length;
      continue;
    }
    left.push(part.subarray(skip));
    skip = 0;
  }
  return left;
}
