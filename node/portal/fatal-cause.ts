import { OperationError } from '../../base/errors.ts';
import { LogFailure } from '../../base/record-log.ts';
import { isDeviceFailure } from '../../storage/log/file-system.ts';
import { DamagedCopyError } from '../../storage/replication/index.ts';
import type { FatalCause } from './worker-protocol.ts';

/**
 * Why a data plane has to end. A disk that failed is not to be tried again by the next process: after a failed fsync the
 * system may take pages for written that never were, and another fsync of the same file says nothing of them.
 */
export function causeOf(error: unknown): FatalCause {
  if (error instanceof DamagedCopyError || error instanceof OperationError) return 'start';
  return error instanceof LogFailure || isDeviceFailure(error) ? 'storage' : 'bug';
}
