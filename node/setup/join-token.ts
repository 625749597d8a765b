import { createHash } from 'node:crypto';
import { OperationError } from '../../base/errors.ts';
import type { RandomSource } from '../../base/random.ts';
import { MAX_JOIN_TOKEN_LENGTH } from './limits.ts';

/**
 * What an administrator carries from the cluster to a new host: whom to ask, how to know that it is really them,
 * and the secret that lets the host in, once and not for long. The cluster itself keeps the secret's hash only.
 *
 *     bfj_ base64url( JSON { n: cluster name, i: cluster id, a: [HOST:PORT of an API], c: SHA-256 of the
 *                            authority's certificate, t: id of the token, s: secret } )
 */
export interface JoinToken {
  readonly clusterName: string;
  readonly clusterId: string;
  readonly apiEndpoints: readonly string[];
  /** Hexadecimal, of the certificate in DER. */
  readonly authoritySha256: string;
  readonly id: string;
  readonly secret: string;
}

const PREFIX = 'bfj_';
const SECRET_BYTES = 32;
const ID_BYTES = 4;
/** What a token is good for if nothing else is asked for. */
export const JOIN_TOKEN_LIFETIME_MS = 24 * 3_600_000;

/** A secret that nobody can guess, and a short name for the token. */
export function newJoinSecret(random: RandomSource): {
  readonly id: string;
  readonly secret: string;
  readonly secretSha256: string;
} {
  const secret = Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url');
  const id = Buffer.from(random.bytes(ID_BYTES)).toString('hex');
  return { id, secret, secretSha256: secretSha256(secret) };
}

export function secretSha256(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

export function encodeJoinToken(token: JoinToken): string {
  const { clusterName: n, clusterId: i, apiEndpoints: a, authoritySha256: c, id: t, secret: s } = token;
  return PREFIX + Buffer.from(JSON.stringify({ n, i, a, c, t, s })).toString('base64url');
}

/** @throws OperationError kind "invalid"; the token is not repeated in it */
export function decodeJoinToken(text: string): JoinToken {
  const document = text.startsWith(PREFIX) && text.length <= MAX_JOIN_TOKEN_LENGTH ? parse(text) : undefined;
  const { n, i, a, c, t, s } = document ?? {};
  const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
  const addresses = Array.isArray(a) ? a.filter(isText) : [];
  const whole = isText(n) && isText(i) && isText(t) && isText(s) && addresses.length > 0;
  if (!whole || typeof c !== 'string' || !/^[0-9a-f]{64}$/.test(c)) {
    throw new OperationError('this is not a join token, or not all of one', {
      kind: 'invalid',
      code: 'bad-join-token',
      accepted: `what "bootfabric node token" prints, beginning with ${PREFIX}`,
    });
  }
  return { clusterName: n, clusterId: i, apiEndpoints: addresses, authoritySha256: c, id: t, secret: s };
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text.slice(PREFIX.length), 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
