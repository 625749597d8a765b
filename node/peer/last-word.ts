import { createHash } from 'node:crypto';

/**
 * A node's last word: a secret that the node's process gives to its guardian at its start and to nobody else, while all
 * other nodes are told its digest in the hello. Whoever is shown the secret knows that the guardian has seen that process
 * end, for it says so in no other case. Sent as one UDP datagram:
 *
 *     magic "bfend1" | 32 bytes
 */
export const LAST_WORD_BYTES = 32;
const MAGIC = Buffer.from('bfend1');

export function encodeLastWord(word: Uint8Array): Uint8Array {
  return Buffer.concat([MAGIC, word]);
}

/** Undefined: it is none. */
export function decodeLastWord(datagram: Uint8Array): Uint8Array | undefined {
  if (datagram.length !== MAGIC.length + LAST_WORD_BYTES) return undefined;
  const isOurs = MAGIC.equals(datagram.subarray(0, MAGIC.length));
  return isOurs ? datagram.subarray(MAGIC.length) : undefined;
}

/** SHA-256, in hexadecimal: what the others are told beforehand. */
export function digestOfLastWord(word: Uint8Array): string {
  return createHash('sha256').update(word).digest('hex');
}
