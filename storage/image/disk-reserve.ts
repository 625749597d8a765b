import type { FileSystem } from '../log/file-system.ts';
import { MAX_DISK_RESERVE_BYTES, MIN_DISK_RESERVE_PARTS } from './limits.ts';

/** As a full file system would say it, but while the logs beside the images still have room. */
class ReserveReachedError extends Error {
  readonly code = 'ENOSPC';
}

/**
 * Images may not take the last of a disk: the logs of the cluster and of the machines' writes are on it too, and
 * a node that cannot write them serves nobody.
 * @throws an error with the code "ENOSPC"
 */
export async function checkRoom(
  fileSystem: FileSystem,
  directory: string,
  wantedBytes: number,
): Promise<void> {
  const { freeBytes, totalBytes } = await fileSystem.space(directory);
  const reserveBytes = Math.min(MAX_DISK_RESERVE_BYTES, totalBytes / MIN_DISK_RESERVE_PARTS);
  if (wantedBytes + reserveBytes <= freeBytes) return;
  throw new ReserveReachedError(`${freeBytes} bytes are free and ${wantedBytes} are wanted`);
}
