import type { FileHandle } from 'node:fs/promises';
import { getSystemErrorName } from 'node:util';
import { loadLibc } from '../net/libc.ts';

/** shared: beside others that only read. exclusive: alone. */
export type FileLockKind = 'shared' | 'exclusive';

/** Linux, from <sys/file.h>. */
const OPERATION: Readonly<Record<FileLockKind, number>> = { shared: 1, exclusive: 2 };
const LOCK_NB = 4;
const HELD_ELSEWHERE = 'EAGAIN';

/**
 * flock(2): held until the file is closed or this process ends, however it does. Nobody else is kept from anything by it who
 * does not ask.
 * @returns in-use: by another open file, of this process or another. no-locks: not offered here, as by some network
 *   file systems
 */
export function lockFile(file: FileHandle, kind: FileLockKind): 'locked' | 'in-use' | 'no-locks' {
  const libc = loadLibc();
  if (libc.flock(file.fd, OPERATION[kind] | LOCK_NB) === 0) return 'locked';
  return getSystemErrorName(-libc.errno()) === HELD_ELSEWHERE ? 'in-use' : 'no-locks';
}
