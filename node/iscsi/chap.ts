import { createHash, timingSafeEqual } from 'node:crypto';
import { parseNumber } from './login-keys.ts';
import type { Authentication, ChapCredentials } from './ports.ts';
import type { TextKey } from './text-keys.ts';

/**
 * The target's side of CHAP (RFC 7143 §12.1.3, RFC 1994), pure: nothing here keeps, shows or logs a secret.
 *
 *     initiator: CHAP_A=<algorithms>
 *     target:    CHAP_A=<algorithm> CHAP_I=<identifier> CHAP_C=<challenge>
 *     initiator: CHAP_N=<name> CHAP_R=<response> [CHAP_I CHAP_C]
 *     target:    [CHAP_N=<name> CHAP_R=<response>]
 */

/** Algorithms by their number in CHAP_A: MD5, which every initiator speaks, SHA-256 and SHA3-256. */
export const chapAlgorithm = { md5: 5, sha256: 7, sha3x256: 8 } as const;
const ALGORITHMS: ReadonlyMap<number, { readonly hash: string; readonly lengthBytes: number }> = new Map([
  [chapAlgorithm.md5, { hash: 'md5', lengthBytes: 16 }],
  [chapAlgorithm.sha256, { hash: 'sha256', lengthBytes: 32 }],
  [chapAlgorithm.sha3x256, { hash: 'sha3-256', lengthBytes: 32 }],
]);
const MAX_CHALLENGE_BYTES = 1024;
/** Fresh random bytes needed for one login: an identifier, and a challenge as long as the longest digest. */
export const CHAP_NONCE_BYTES = 33;

export const SECURITY_KEYS: ReadonlySet<string> = new Set([
  'AuthMethod',
  'CHAP_A',
  'CHAP_N',
  'CHAP_R',
  'CHAP_I',
  'CHAP_C',
]);

/** Where the authentication of one login stands. */
export type AuthState =
  | { readonly step: 'method' }
  | { readonly step: 'algorithm' }
  | { readonly step: 'response'; readonly algorithm: number; readonly challenge: Challenge }
  | { readonly step: 'done' };

export interface Challenge {
  readonly identifier: number;
  readonly bytes: Uint8Array;
}

/** undefined: the initiator has failed. */
export type AuthStep = { readonly state: AuthState; readonly answers: readonly TextKey[] } | undefined;

/**
 * Takes the security keys of one request.
 * @param nonce CHAP_NONCE_BYTES random bytes that no other login gets
 */
export function stepAuth(
  before: AuthState,
  keys: readonly TextKey[],
  terms: Authentication,
  nonce: Uint8Array,
): AuthStep {
  const given = new Map(keys.map(({ key, value }) => [key, value]));
  const answers: TextKey[] = [];
  let state = before;
  const method = given.get('AuthMethod');
  if (method !== undefined) {
    const chosen = state.step === 'method' ? chooseMethod(method, terms) : undefined;
    if (chosen === undefined) return undefined;
    answers.push({ key: 'AuthMethod', value: chosen });
    state = { step: chosen === 'CHAP' ? 'algorithm' : 'done' };
  }
  const offered = given.get('CHAP_A');
  if (offered !== undefined) {
    const algorithm = state.step === 'algorithm' ? chooseAlgorithm(offered) : undefined;
    if (algorithm === undefined) return undefined;
    const challenge = makeChallenge(algorithm, nonce);
    state = { step: 'response', algorithm, challenge };
    answers.push(
      { key: 'CHAP_A', value: String(algorithm) },
      { key: 'CHAP_I', value: String(challenge.identifier) },
      { key: 'CHAP_C', value: encodeBinary(challenge.bytes) },
    );
  }
  if (!given.has('CHAP_N') && !given.has('CHAP_R')) return { state, answers };
  const reply = state.step === 'response' ? checkResponse(state, given, terms.credentials) : undefined;
  if (reply === undefined) return undefined;
  return { state: { step: 'done' }, answers: [...answers, ...reply] };
}

/** CHAP wherever both sides can; None where it is not required. */
function chooseMethod(offered: string, terms: Authentication): 'CHAP' | 'None' | undefined {
  const methods = offered.split(',');
  if (terms.credentials.length > 0 && methods.includes('CHAP')) return 'CHAP';
  return terms.optional && methods.includes('None') ? 'None' : undefined;
}

/** The first of the initiator's list that we know. */
function chooseAlgorithm(offered: string): number | undefined {
  return offered.split(',').map(parseNumber).find(isAlgorithm);
}

function isAlgorithm(number: number | undefined): number is number {
  return number !== undefined && ALGORITHMS.has(number);
}

function makeChallenge(algorithm: number, nonce: Uint8Array): Challenge {
  const lengthBytes = ALGORITHMS.get(algorithm)?.lengthBytes ?? 0;
  return { identifier: nonce[0] as number, bytes: nonce.subarray(1, 1 + lengthBytes) };
}

/** @returns what is answered: the target's own response, where it is asked for one; undefined on failure */
function checkResponse(
  state: Extract<AuthState, { step: 'response' }>,
  given: ReadonlyMap<string, string>,
  credentials: readonly ChapCredentials[],
): readonly TextKey[] | undefined {
  const { algorithm, challenge } = state;
  const response = decodeBinary(given.get('CHAP_R') ?? '');
  const username = given.get('CHAP_N');
  const used = credentials.find(
    (c) => c.username === username && isSame(response, chapDigest(algorithm, c.secret, challenge)),
  );
  if (used === undefined) return undefined;
  const identifier = given.get('CHAP_I');
  const theirs = given.get('CHAP_C');
  if (identifier === undefined && theirs === undefined) return [];
  return answerChallenge(
    used,
    algorithm,
    challenge,
    parseNumber(identifier ?? ''),
    decodeBinary(theirs ?? ''),
  );
}

/** Mutual CHAP: shows the initiator that the target knows its own secret. */
function answerChallenge(
  used: ChapCredentials,
  algorithm: number,
  ours: Challenge,
  identifier: number | undefined,
  bytes: Uint8Array | undefined,
): readonly TextKey[] | undefined {
  if (used.mutual === undefined || identifier === undefined || identifier > 255) return undefined;
  if (bytes === undefined || bytes.length === 0 || bytes.length > MAX_CHALLENGE_BYTES) return undefined;
  // Our own challenge sent back would have us answer it (RFC 7143 §9.2.1).
  if (isSame(bytes, ours.bytes)) return undefined;
  const digest = chapDigest(algorithm, used.mutual.secret, { identifier, bytes });
  return [
    { key: 'CHAP_N', value: used.mutual.username },
    { key: 'CHAP_R', value: encodeBinary(digest) },
  ];
}

/** Digest over identifier, secret and challenge (RFC 1994 §4.1). @param algorithm one of chapAlgorithm */
export function chapDigest(algorithm: number, secret: string, challenge: Challenge): Uint8Array {
  const hash = createHash(ALGORITHMS.get(algorithm)?.hash ?? '');
  return hash
    .update(Uint8Array.of(challenge.identifier))
    .update(secret, 'latin1')
    .update(challenge.bytes)
    .digest();
}

function isSame(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one !== undefined && one.length === other.length && timingSafeEqual(one, other);
}

/** A hex-constant (RFC 7143 §6.1). */
export function encodeBinary(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}

/** A hex-constant or base64-constant. @returns undefined when it is neither */
export function decodeBinary(text: string): Uint8Array | undefined {
  if (/^0[xX]([0-9a-fA-F]{2})+$/.test(text)) return Buffer.from(text.slice(2), 'hex');
  if (/^0[bB][A-Za-z0-9+/]+={0,2}$/.test(text)) return Buffer.from(text.slice(2), 'base64');
  return undefined;
}
