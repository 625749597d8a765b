import Type from 'typebox';
import type { OperationErrorKind } from '../../base/errors.ts';

/** The HTTP status (RFC 9110 §15) that each kind of refusal is answered with. */
export const HTTP_STATUS: Readonly<Record<OperationErrorKind, number>> = {
  invalid: 400,
  unauthorized: 401,
  'not-found': 404,
  conflict: 409,
  'too-large': 413,
  'no-space': 507,
  unavailable: 503,
  'unknown-outcome': 504,
};

/**
 * Codes that the API itself answers with; those of the cluster and of the image store come beside them,
 * unchanged. Each with its status and its meaning.
 */
export const API_ERRORS = {
  'no-token': { status: 401, meaning: 'no Authorization header of the form "Bearer TOKEN" was sent' },
  'bad-token': { status: 401, meaning: 'the token is not one of this cluster' },
  'not-a-node': {
    status: 401,
    meaning: 'the route is for nodes of this cluster, shown by their certificate',
  },
  'unknown-route': { status: 404, meaning: 'there is no such method and path' },
  'bad-value': {
    status: 400,
    meaning: 'a field of the path, query or body has a value that is not accepted',
  },
  'bad-json': { status: 400, meaning: 'the body is not JSON' },
  'bad-media-type': { status: 415, meaning: 'the body is of another kind than the route takes' },
  'bad-request': { status: 400, meaning: 'the request is malformed' },
  'body-too-large': { status: 413, meaning: 'the body is larger than the route takes' },
  'wrong-length': { status: 400, meaning: 'the body is longer or shorter than was announced' },
  'too-many-imports': { status: 503, meaning: 'this node is receiving as many images as it takes at once' },
  'unknown-client': { status: 404, meaning: 'there is no such client' },
  'chap-off': { status: 409, meaning: 'the client does not authenticate, so it has no secrets to rotate' },
  'unknown-portal-group': { status: 404, meaning: 'there is no such portal group' },
  'copy-being-read': {
    status: 503,
    meaning: 'what the copy lacks is not known yet; the request may be repeated',
  },
  'copy-unknown': { status: 409, meaning: 'what the copy lacks cannot be found out' },
  'copy-has-holes': { status: 409, meaning: 'the copy lacks blocks in the middle' },
  'unknown-image': { status: 404, meaning: 'there is no such image' },
  'unknown-image-version': { status: 404, meaning: 'the image has no such version' },
  'node-leaving': {
    status: 409,
    meaning: 'the node is being drained or replaced, and is given nothing to lead',
  },
  'node-removed': { status: 409, meaning: 'the node that asks was removed from the cluster' },
  'not-held': { status: 404, meaning: 'this node does not hold the content asked for' },
  internal: { status: 500, meaning: 'this node failed; its log says how' },
} as const satisfies Readonly<Record<string, { status: number; meaning: string }>>;

export type ApiErrorCode = keyof typeof API_ERRORS;

/** The body of every answer with a status of 400 or more. */
export const errorSchema = Type.Object(
  {
    error: Type.Object({
      code: Type.String({ description: 'machine-readable reason, stable' }),
      message: Type.String({ description: 'what was wrong, in words' }),
      got: Type.Optional(Type.Unknown({ description: 'the offending value' })),
      accepted: Type.Optional(Type.String({ description: 'what would be accepted, in words' })),
    }),
  },
  { description: 'why the request was refused' },
);
