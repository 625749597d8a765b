import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';

/** preadv2(2), Linux: fail rather than wait for a disk or a lock. */
const RWF_NOWAIT = 8;
const IOVEC_WORDS = 2;

type Koffi = typeof import('koffi').default;
type Preadv2 = (fd: number, vector: BigUint64Array, count: number, offset: number, flags: number) => number;

/**
 * Reads of what the system keeps in its page cache, on the thread that asks. They take as long as copying does; by
 * the thread pool it takes several times that until the answer is back, and all of it is the processor's time.
 */
export interface PageCache {
  /**
   * Fills `into` from the file.
   * @returns full: it did. absent: not all of it is in memory, or the file ends before. unsupported: this file
   *   system has no such read
   */
  read(fd: number, into: Uint8Array, offsetBytes: number): 'full' | 'absent' | 'unsupported';
}

let loaded: PageCache | undefined;

/** The system's own; where it has no such call, or the binding is missing, every file is unsupported. */
export function systemPageCache(): PageCache {
  loaded ??= bind() ?? { read: () => 'unsupported' };
  return loaded;
}

function bind(): PageCache | undefined {
  if (process.platform !== 'linux') return undefined;
  let koffi: Koffi;
  let preadv2: Preadv2;
  try {
    const required = createRequire(import.meta.url)('koffi') as Koffi & { default?: Koffi };
    koffi = required.default ?? required;
    const signature = 'intptr_t preadv2(int fd, const void *vector, int count, int64_t offset, int flags)';
    preadv2 = koffi.load(null).func(signature) as Preadv2;
  } catch {
    return undefined;
  }
  // One struct iovec: address and length. No call is under way when the next one is made.
  const vector = new BigUint64Array(IOVEC_WORDS);
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
  };
}
