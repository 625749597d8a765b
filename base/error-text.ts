import { describeError, OperationError } from './errors.ts';

/** An error as every command and route shows it to machines. */
export interface ErrorDocument {
  readonly error: {
    /** Stable, kebab-case. */
    readonly code: string;
    /** What was wrong, in words. */
    readonly message: string;
    /** The offending value, where there is one. */
    readonly got?: unknown;
    /** What would be accepted, in words. */
    readonly accepted?: string;
  };
}

/** Anything thrown that is not an OperationError has the code "failed". */
export function errorDocument(error: unknown): ErrorDocument {
  if (!(error instanceof OperationError)) return { error: { code: 'failed', message: describeError(error) } };
  return {
    error: {
      code: error.code,
      message: error.message,
      ...(error.got === undefined ? {} : { got: error.got }),
      ...(error.accepted === undefined ? {} : { accepted: error.accepted }),
    },
  };
}

/** The same for people: what was wrong, what was given, what is accepted; a line each. */
export function errorText(document: ErrorDocument): string {
  const { message, got, accepted } = document.error;
  const lines = [`error: ${message}`];
  if (got !== undefined) lines.push(`  got:      ${typeof got === 'string' ? got : JSON.stringify(got)}`);
  if (accepted !== undefined) lines.push(`  accepted: ${accepted}`);
  return `${lines.join('\n')}\n`;
}
