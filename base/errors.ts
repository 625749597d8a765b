/**
 * The three kinds of things that go wrong, kept apart by type:
 *
 * - {@link ProtocolError}: a peer broke a protocol. The machine that caught it picks the protocol's own answer.
 * - {@link OperationError}: an administrator asked for something that cannot be done. Shown as it is.
 * - {@link InvariantError}: we are wrong. Nothing catches it; the process logs it, ends and is restarted.
 */

export interface ProtocolErrorDetails {
  /** Machine-readable reason, kebab-case, stable. */
  readonly code: string;
  /** What the peer sent. */
  readonly got?: unknown;
  /** What would have been accepted. */
  readonly limit?: unknown;
  /** Section of the standard that was broken, as "RFC 7143 §11.2.1.3". */
  readonly rfc?: string;
}

/** A peer's fault. Never fatal to the node. */
export class ProtocolError extends Error {
  readonly code: string;
  readonly got: unknown;
  readonly limit: unknown;
  readonly rfc: string | undefined;

  constructor(message: string, details: ProtocolErrorDetails) {
    super(message);
    this.name = 'ProtocolError';
    this.code = details.code;
    this.got = details.got;
    this.limit = details.limit;
    this.rfc = details.rfc;
  }
}

/** Kinds of refusal an administrator can meet; the API maps each to one HTTP status. */
export type OperationErrorKind =
  | 'invalid' // 400: the request itself is wrong
  | 'unauthorized' // 401
  | 'not-found' // 404
  | 'conflict' // 409: it contradicts what exists
  | 'too-large' // 413
  | 'no-space' // 507
  | 'unavailable' // 503: not now; nothing was changed
  | 'unknown-outcome'; // 504: it may or may not have happened; look before trying again

export interface OperationErrorDetails {
  readonly kind: OperationErrorKind;
  /** Machine-readable reason, kebab-case, stable. */
  readonly code: string;
  /** The offending value. */
  readonly got?: unknown;
  /** What would be accepted, in words. */
  readonly accepted?: string;
}

/** A request that cannot be carried out, told so that its sender can mend it. */
export class OperationError extends Error {
  readonly kind: OperationErrorKind;
  readonly code: string;
  readonly got: unknown;
  readonly accepted: string | undefined;

  constructor(message: string, details: OperationErrorDetails) {
    super(message);
    this.name = 'OperationError';
    this.kind = details.kind;
    this.code = details.code;
    this.got = details.got;
    this.accepted = details.accepted;
  }
}

/** A bug of ours. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InvariantError';
  }
}

/**
 * States something that holds unless this program is wrong.
 * @throws InvariantError when it does not hold
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** For the default branch of a switch that names every case. */
export function unreachable(value: never): never {
  throw new InvariantError(`unexpected value ${JSON.stringify(value)}`);
}

/** The message of anything thrown. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system's name for a failure, as "ECONNRESET"; "error" for what has none. */
export function errorCode(error: Error): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : 'error';
}
