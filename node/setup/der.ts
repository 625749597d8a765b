/**
 * The few forms of ASN.1 DER (X.690) that a certificate is made of. Each function returns one complete
 * tag-length-value; they nest.
 */

export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  return Buffer.concat([Uint8Array.of(tag), derLength(content.length), content]);
}

/** X.690 §8.1.3: one byte below 128, else the number of length bytes and those. */
function derLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest & 0xff);
  return Uint8Array.of(0x80 | bytes.length, ...bytes);
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => der(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]): Uint8Array => der(0x31, ...parts);
export const octetString = (bytes: Uint8Array): Uint8Array => der(0x04, bytes);
export const utf8String = (text: string): Uint8Array => der(0x0c, Buffer.from(text, 'utf8'));
export const trueValue = (): Uint8Array => der(0x01, Uint8Array.of(0xff));

/** A constructed value under a context-specific tag. */
export const explicitTag = (n: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  der(0xa0 | n, ...parts);
/** A primitive value whose own tag is replaced by a context-specific one. */
export const implicitTag = (n: number, bytes: Uint8Array): Uint8Array => der(0x80 | n, bytes);

/** A non-negative integer of any size, given in big-endian bytes. */
export function integer(bigEndian: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bigEndian.length - 1 && bigEndian[start] === 0) start++;
  const digits = bigEndian.subarray(start);
  // A set top bit would make it negative.
  const negative = ((digits[0] ?? 0) & 0x80) !== 0;
  return negative ? der(0x02, Uint8Array.of(0), digits) : der(0x02, digits);
}

/** @param unusedBits how many low bits of the last byte do not count */
export function bitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return der(0x03, Uint8Array.of(unusedBits), bytes);
}

/** X.690 §8.19: the first two arcs share a byte, the others are base 128. */
export function objectIdentifier(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes: number[] = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(0x06, Uint8Array.from(bytes));
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime after; both to the second, in UTC. */
export function time(epochMs: number): Uint8Array {
  const digits = new Date(epochMs)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  return year < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits));
}
