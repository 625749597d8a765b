import { latin1 } from '../../base/byte-reader.ts';
import { ProtocolError } from '../../base/errors.ts';
import { MAX_TEXT_BYTES, MAX_TEXT_KEYS } from './limits.ts';

/** Text of Login and Text PDUs: "key=value" pairs, each ended by a NUL (RFC 7143 §6.1). */

export interface TextKey {
  readonly key: string;
  readonly value: string;
}

const MAX_KEY_LENGTH = 63;
/** Longest value of any key (a public CHAP or SRP binary value); names are far shorter. */
const MAX_VALUE_LENGTH = 8192;

/**
 * @throws ProtocolError code "text-too-long", "too-many-keys", "unterminated-text", "bad-key" or "bad-value"
 */
export function decodeTextKeys(bytes: Uint8Array): TextKey[] {
  if (bytes.length > MAX_TEXT_BYTES) throw textError('text-too-long', bytes.length, MAX_TEXT_BYTES);
  if (bytes.length === 0) return [];
  if (bytes.at(-1) !== 0) throw textError('unterminated-text', bytes.at(-1), 0);
  // Several NULs in a row separate nothing; some initiators pad with them.
  const pairs = latin1(bytes)
    .split('\0')
    .filter((pair) => pair !== '');
  if (pairs.length > MAX_TEXT_KEYS) throw textError('too-many-keys', pairs.length, MAX_TEXT_KEYS);
  return pairs.map(decodePair);
}

function decodePair(pair: string): TextKey {
  const equals = pair.indexOf('=');
  const key = pair.slice(0, Math.max(equals, 0));
  const value = pair.slice(equals + 1);
  // Labels begin with a capital, but for iSCSIProtocolLevel; "#" is in the names of extensions (§6.1, §13.22).
  if (!/^[A-Za-z][A-Za-z0-9.+@_#-]*$/.test(key) || key.length > MAX_KEY_LENGTH) {
    throw textError('bad-key', pair.slice(0, 80), 'a standard-label of at most 63 characters, then "="');
  }
  if (value.length > MAX_VALUE_LENGTH) throw textError('bad-value', value.length, MAX_VALUE_LENGTH);
  return { key, value };
}

export function encodeTextKeys(keys: readonly TextKey[]): Uint8Array {
  return Buffer.from(keys.map(({ key, value }) => `${key}=${value}\0`).join(''), 'latin1');
}

function textError(code: string, got: unknown, limit: unknown): ProtocolError {
  return new ProtocolError(`the text of a login or text request is wrong (${code})`, {
    code,
    got,
    limit,
    rfc: 'RFC 7143 §6.1',
  });
}
