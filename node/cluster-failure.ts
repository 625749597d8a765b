import { describeError, InvariantError, OperationError } from '../base/errors.ts';
import { EXIT_CODE } from '../base/exit-code.ts';
import { LogFailure } from '../base/record-log.ts';
import { isDeviceFailure } from '../storage/log/file-system.ts';

export interface NodeEnd {
  readonly code: number;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * How a node ends whose part in the cluster log has failed. What may be the disk's doing counts as that, the database's own
 * errors included, as the next process is not to go on over it: only what is surely of our own making is a bug, after
 * which the node is started again.
 */
export function endAfter(error: unknown): NodeEnd {
  const reason = describeError(error);
  // What an administrator is to mend: a program too old for this cluster.
  if (error instanceof OperationError) {
    return { code: EXIT_CODE.refused, event: 'node.refused', fields: { reason, code: error.code } };
  }
  if (!isBug(error)) {
    return { code: EXIT_CODE.storage, event: 'node.failed', fields: { cause: 'storage', reason } };
  }
  const where = error instanceof Error ? (error.stack ?? reason) : reason;
  return { code: EXIT_CODE.again, event: 'node.failed', fields: { cause: 'bug', reason: where } };
}

/** Of this program or of the language, where nothing on the way to it speaks of a disk. */
function isBug(error: unknown): boolean {
  if (isDeviceFailure(error)) return false;
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof LogFailure) return false;
    if (OURS.some((kind) => at instanceof kind)) return true;
  }
  return false;
}

const OURS = [InvariantError, TypeError, RangeError, ReferenceError] as const;
