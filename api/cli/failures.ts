import { OperationError } from '../../base/errors.ts';

export const EXIT = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const;

/** The command line itself is wrong. */
export class UsageError extends OperationError {
  constructor(message: string, details: { got?: unknown; accepted?: string } = {}) {
    super(message, { kind: 'invalid', code: 'usage', ...details });
    this.name = 'UsageError';
  }
}

/** No node could be asked. */
export class UnreachableError extends OperationError {
  constructor(message: string, details: { got?: unknown; accepted?: string } = {}) {
    super(message, { kind: 'unavailable', code: 'unreachable', ...details });
    this.name = 'UnreachableError';
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  return error instanceof UnreachableError ? EXIT.unreachable : EXIT.refused;
}
