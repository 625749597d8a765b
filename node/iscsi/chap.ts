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
/** Of a challenge and of a response. */
const MAX_BINARY_BYTES = 1024;
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

/**
 * Why an initiator has failed: no method that would do is offered, it is not who it says, or what it sends is not what the
 * step demands (RFC 7143 §9.2): a key is missing, or one is there, or has a value, that does not belong.
 */
export type AuthFailure = 'no-method' | 'not-authentic' | 'missing-key' | 'wrong-key';

export type AuthStep = { readonly state: AuthState; readonly answers: readonly TextKey[] } | AuthFailure;

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
    if (state.step !== 'method') return 'wrong-key';
    const chosen = chooseMethod(method, terms);
    if (chosen === undefined) return 'no-method';
    answers.push({ key: 'AuthMethod', value: chosen });
    state = { step: chosen === 'CHAP' ? 'algorithm' : 'done' };
  }
  const offered = given.get('CHAP_A');
  if (offered !== undefined) {
    if (state.step !== 'algorithm') return 'wrong-key';
    const algorithm = chooseAlgorithm(offered);
    if (algorithm === undefined) return 'not-authentic';
    const challenge = makeChallenge(algorithm, nonce);
    state = { step: 'response', algorithm, challenge };
    answers.push(
      { key: 'CHAP_A', value: String(algorithm) },
      { key: 'CHAP_I', value: String(challenge.identifier) },
      { key: 'CHAP_C', value: encodeBinary(challenge.bytes) },
    );
  }
  if (RESPONSE_KEYS.every((key) => !given.has(key))) {
    const isDue = before.step === 'response' || (before.step === 'algorithm' && state.step === 'algorithm');
    return isDue ? 'missing-key' : { state, answers };
  }
  // The response is to a challenge that the initiator has seen.
  if (before.step !== 'response') return 'wrong-key';
  const reply = checkResponse(before, given, terms.credentials);
  return typeof reply === 'string' ? reply : { state: { step: 'done' }, answers: [...answers, ...reply] };
}

const RESPONSE_KEYS = ['CHAP_N', 'CHAP_R', 'CHAP_I', 'CHAP_C'] as const;

/** The first of the initiator's list that it may use (RFC 7143 §6.2.1). */
function chooseMethod(offered: string, terms: Authentication): 'CHAP' | 'None' | undefined {
  for (const method of offered.split(',')) {
    if (method === 'CHAP' && terms.credentials.length > 0) return method;
    if (method === 'None' && terms.optional) return method;
  }
  return undefined;
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

/** @returns what is answered: the target's own response, where it is asked for one */
function checkResponse(
  { algorithm, challenge }: Extract<AuthState, { step: 'response' }>,
  given: ReadonlyMap<string, string>,
  credentials: readonly ChapCredentials[],
): readonly TextKey[] | AuthFailure {
  const [username, digest, identifier, theirs] = RESPONSE_KEYS.map((key) => given.get(key));
  const response = decodeBinary(digest ?? '');
  const isMutual = identifier !== undefined || theirs !== undefined;
  const isWhole = username !== undefined && digest !== undefined;
  if (!isWhole || (isMutual && (identifier === undefined || theirs === undefined))) return 'missing-key';
  const asked = isMutual ? parseChallenge(identifier ?? '', theirs ?? '') : undefined;
  if (response === undefined || response.length > MAX_BINARY_BYTES || (isMutual && asked === undefined)) {
    return 'wrong-key';
  }
  const used = credentials.find(
    (c) => c.username === username && isSame(response, chapDigest(algorithm, c.secret, challenge)),
  );
  if (used === undefined || isOwnResponse(response, used, algorithm, challenge)) return 'not-authentic';
  return asked === undefined ? [] : answerChallenge(used, algorithm, challenge, asked);
}

/** A response that the target would give itself shows that one secret is used both ways (§9.2.1). */
function isOwnResponse(
  response: Uint8Array,
  { mutual }: ChapCredentials,
  algorithm: number,
  challenge: Challenge,
): boolean {
  return mutual !== undefined && isSame(response, chapDigest(algorithm, mutual.secret, challenge));
}

function parseChallenge(identifierText: string, challengeText: string): Challenge | undefined {
  const identifier = parseNumber(identifierText);
  const bytes = decodeBinary(challengeText);
  if (identifier === undefined || identifier > 255) return undefined;
  if (bytes === undefined || bytes.length === 0 || bytes.length > MAX_BINARY_BYTES) return undefined;
  return { identifier, bytes };
}

/** Mutual CHAP: shows the initiator that the target knows its own secret. */
function answerChallenge(
  used: ChapCredentials,
  algorithm: number,
  ours: Challenge,
  asked: Challenge,
): readonly TextKey[] | AuthFailure {
  // Our own challenge sent back would have us answer it (RFC 7143 §9.2.1).
  if (used.mutual === undefined || isSame(asked.bytes, ours.bytes)) return 'not-authentic';
  return [
    { key: 'CHAP_N', value: used.mutual.username },
    { key: 'CHAP_R', value: encodeBinary(chapDigest(algorithm, used.mutual.secret, asked)) },
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

/** A hex-constant, of n digits for (n + 1) / 2 bytes, or base64-constant. @returns undefined when it is neither */
export function decodeBinary(text: string): Uint8Array | undefined {
  if (/^0[xX][0-9a-fA-F]+$/.test(text)) {
    const digits = text.slice(2);
    return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  }
  if (/^0[bB][A-Za-z0-9+/]+={0,2}$/.test(text)) return Buffer.from(text.slice(2), 'base64');
  return undefined;
}
