import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';

/** preadv2(2), Linux: fail rather than wait for a disk or a lock. */
const RWF_NOWAIT = 8;
/**
 * sync_file_range(2), Linux: begin to write what is dirty. Neither waits for it nor takes note of errors, which are left for
 * fdatasync to find.
 */
const SYNC_FILE_RANGE_WRITE = 2;
const IOVEC_WORDS = 2;

type Koffi = typeof import('koffi').default;
type Preadv2 = (fd: number, vector: BigUint64Array, count: number, offset: number, flags: number) => number;
interface SyncFileRange {
  async(
    fd: number,
    offset: number,
    length: number,
    flags: number,
    done: (error: unknown, result: number) => void,
  ): void;
}

/** What the runtime has no calls for, of what can be done with the system's page cache. */
export interface PageCache {
  /**
   * Fills `into` from the file, on the thread that asks. It takes as long as copying does; by the thread pool it takes several
   * times that until the answer is back, and all of it is the processor's time.
   * @returns full: it did. absent: not all of it is in memory, or the file ends before. unsupported: this file
   *   system has no such read
   */
  read(fd: number, into: Uint8Array, offsetBytes: number): 'full' | 'absent' | 'unsupported';
  /**
   * Has the system begin to write a part of the file to the disk, on a thread of the pool. Nothing is known of it then. One
   * call is carried out at a time, for where disks are slow each keeps a thread.
   * @returns resolves when the file may be closed again; undefined when nothing was begun
   */
  writeOut(fd: number, offsetBytes: number, lengthBytes: number): Promise<void> | undefined;
}

const NO_PAGE_CACHE: PageCache = { read: () => 'unsupported', writeOut: () => undefined };

let loaded: PageCache | undefined;

/** The system's own; where it has no such calls, or the binding is missing, every file is unsupported. */
export function systemPageCache(): PageCache {
  loaded ??= bind() ?? NO_PAGE_CACHE;
  return loaded;
}

function bind(): PageCache | undefined {
  if (process.platform !== 'linux') return undefined;
  let koffi: Koffi;
  let preadv2: Preadv2;
  let syncFileRange: SyncFileRange;
  try {
    const required = createRequire(import.meta.url)('koffi') as Koffi & { default?: Koffi };
    koffi = required.default ?? required;
    const signature = 'intptr_t preadv2(int fd, const void *vector, int count, int64_t offset, int flags)';
    preadv2 = koffi.load(null).func(signature) as Preadv2;
    const range = 'int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)';
    syncFileRange = koffi.load(null).func(range);
  } catch {
    return undefined;
  }
  // One struct iovec: address and length. No call is under way when the next one is made.
  const vector = new BigUint64Array(IOVEC_WORDS);
  let isWritingOut = false;
  return {
    read(fd, into, offsetBytes) {
      vector[0] = koffi.address(into);
      vector[1] = BigInt(into.length);
      const count = preadv2(fd, vector, 1, offsetBytes, RWF_NOWAIT);
      if (count >= 0) return count === into.length ? 'full' : 'absent';
      const error = getSystemErrorName(-koffi.errno());
      // Whatever else is wrong with the file is for an ordinary read to find out.
      return error === 'EOPNOTSUPP' || error === 'ENOSYS' || error === 'EINVAL' ? 'unsupported' : 'absent';
    },
    writeOut(fd, offsetBytes, lengthBytes) {
      if (isWritingOut) return undefined;
      isWritingOut = true;
      return new Promise((resolve) => {
        syncFileRange.async(fd, offsetBytes, lengthBytes, SYNC_FILE_RANGE_WRITE, () => {
          isWritingOut = false;
          resolve();
        });
      });
    },
  };
}
