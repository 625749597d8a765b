import type { FastifyError } from 'fastify';
import { type ErrorDocument, errorDocument } from '../base/error-text.ts';
import { OperationError } from '../base/errors.ts';
import { API_ERRORS, type ApiErrorCode, HTTP_STATUS } from './contract/errors.ts';

/** A refusal of the API itself, with the status its code has in the contract. */
export class ApiError extends OperationError {
  readonly status: number;

  constructor(code: ApiErrorCode, message: string, details: { got?: unknown; accepted?: string } = {}) {
    const { status } = API_ERRORS[code];
    super(message, { kind: kindOf(status), code, ...details });
    this.name = 'ApiError';
    this.status = status;
  }
}

function kindOf(status: number): OperationError['kind'] {
  const kinds = Object.entries(HTTP_STATUS) as [OperationError['kind'], number][];
  return kinds.find(([, s]) => s === status)?.[0] ?? 'invalid';
}

export interface Refusal {
  readonly status: number;
  readonly document: ErrorDocument;
}

/** What is answered to anything thrown while a request is handled; undefined when it is this node's failure. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof ApiError) return { status: error.status, document: errorDocument(error) };
  if (error instanceof OperationError)
    return { status: HTTP_STATUS[error.kind], document: errorDocument(error) };
  const own = frameworkError(error as Partial<FastifyError> | undefined);
  return own === undefined ? undefined : { status: own.status, document: errorDocument(own) };
}

/** The HTTP framework's own codes, for what it finds wrong in a request before a handler sees it. */
const FRAMEWORK_CODES: ReadonlyMap<string, { readonly code: ApiErrorCode; readonly accepted?: string }> =
  new Map([
    [
      'FST_ERR_CTP_INVALID_MEDIA_TYPE',
      {
        code: 'bad-media-type',
        accepted: 'application/json, or application/octet-stream where bytes are uploaded',
      },
    ],
    ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 'body-too-large' }],
    ['FST_ERR_CTP_INVALID_JSON_BODY', { code: 'bad-json', accepted: 'a JSON document' }],
    ['FST_ERR_CTP_EMPTY_JSON_BODY', { code: 'bad-json', accepted: 'a JSON document' }],
    ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', { code: 'wrong-length' }],
  ]);

function frameworkError(error: Partial<FastifyError> | undefined): ApiError | undefined {
  const message = error?.message ?? '';
  const known = FRAMEWORK_CODES.get(error?.code ?? '');
  if (known !== undefined) {
    return new ApiError(
      known.code,
      message,
      known.accepted === undefined ? {} : { accepted: known.accepted },
    );
  }
  const status = error?.statusCode ?? 500;
  if (status < 400 || status >= 500) return undefined;
  if (error instanceof SyntaxError) return new ApiError('bad-json', message, { accepted: 'a JSON document' });
  return new ApiError('bad-request', message);
}
