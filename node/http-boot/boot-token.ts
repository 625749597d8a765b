import { createHmac, timingSafeEqual } from 'node:crypto';
import { CLOCK_SKEW_SECONDS, TOKEN_CHARACTERS_MAX, TOKEN_LIFETIME_SECONDS } from './limits.ts';

/**
 * A boot token says "a node of this cluster told this client to fetch its script until then". Nothing is
 * stored: any node that knows the cluster's secret can check it.
 *
 *     expiry in seconds, base 36 "." HMAC-SHA256 of purpose, client name and expiry, first 16 bytes, base64url
 */
const PURPOSE = 'bootfabric boot token, version 1';
/** 128 bits cannot be guessed, and half the length leaves room in DHCP messages. */
const MAC_BYTES = 16;

/** @param nowMs wall-clock time */
export function mintBootToken(secret: Uint8Array, clientName: string, nowMs: number): string {
  const expirySeconds = Math.floor(nowMs / 1000) + TOKEN_LIFETIME_SECONDS;
  const mac = macOf(secret, clientName, expirySeconds).toString('base64url');
  return `${expirySeconds.toString(36)}.${mac}`;
}

export type TokenVerdict = 'valid' | 'malformed' | 'forged' | 'expired';

/** Allows for the clocks of two nodes to differ a little. @param nowMs wall-clock time */
export function verifyBootToken(
  secret: Uint8Array,
  clientName: string,
  token: string,
  nowMs: number,
): TokenVerdict {
  const parts = token.length <= TOKEN_CHARACTERS_MAX ? /^([0-9a-z]{1,10})\.([\w-]+)$/.exec(token) : null;
  const [, expiryText, macText] = parts ?? [];
  if (expiryText === undefined || macText === undefined) return 'malformed';
  const expirySeconds = Number.parseInt(expiryText, 36);
  const mac = Buffer.from(macText, 'base64url');
  if (mac.length !== MAC_BYTES) return 'malformed';
  if (!timingSafeEqual(mac, macOf(secret, clientName, expirySeconds))) return 'forged';
  return nowMs / 1000 > expirySeconds + CLOCK_SKEW_SECONDS ? 'expired' : 'valid';
}

function macOf(secret: Uint8Array, clientName: string, expirySeconds: number): Buffer {
  // The name comes last: it is the one part of free length.
  return createHmac('sha256', secret)
    .update(`${PURPOSE}\n${expirySeconds}\n${clientName}`)
    .digest()
    .subarray(0, MAC_BYTES);
}
