import { webcrypto } from 'node:crypto';

/** SHA-256, computed off the main thread. */
export async function sha256(input: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', input));
}

export async function sha256Hex(input: Uint8Array): Promise<string> {
  return Buffer.from(await sha256(input)).toString('hex');
}

const ZEROS = Buffer.alloc(64 * 1024);

export function isAllZeros(input: Uint8Array): boolean {
  for (let at = 0; at < input.length; at += ZEROS.length) {
    const part = input.subarray(at, at + ZEROS.length);
    if (Buffer.compare(part, ZEROS.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}
