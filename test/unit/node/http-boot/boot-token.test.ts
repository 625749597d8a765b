import { describe, expect, it } from 'vitest';
import { mintBootToken, verifyBootToken } from '../../../../node/http-boot/boot-token.ts';
import { CLOCK_SKEW_SECONDS, TOKEN_LIFETIME_SECONDS } from '../../../../node/http-boot/limits.ts';

const secret = Buffer.from('a secret of this cluster');
const NOW_MS = 1_800_000_000_000;
const token = mintBootToken(secret, 'pc-1', NOW_MS);

describe('boot token', () => {
  it('is the same wherever it is made, and short', () => {
    // HMAC-SHA256 of "bootfabric boot token, version 1\n1800000900\npc-1", computed by openssl.
    expect(token).toBe(`${(1_800_000_900).toString(36)}.8bVi6JYxM5b0A9bZ9lfUAQ`);
    expect(token.length).toBeLessThan(32);
  });

  it('is valid until its end, and a little longer for the clocks of other nodes', () => {
    const verdictAfter = (seconds: number): string =>
      verifyBootToken(secret, 'pc-1', token, NOW_MS + seconds * 1000);
    expect(verdictAfter(0)).toBe('valid');
    expect(verdictAfter(-CLOCK_SKEW_SECONDS)).toBe('valid');
    expect(verdictAfter(TOKEN_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS)).toBe('valid');
    expect(verdictAfter(TOKEN_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS + 1)).toBe('expired');
  });

  it('is good for one client of one cluster', () => {
    expect(verifyBootToken(secret, 'pc-2', token, NOW_MS)).toBe('forged');
    expect(verifyBootToken(Buffer.from('another'), 'pc-1', token, NOW_MS)).toBe('forged');
  });

  it('cannot be given a later end', () => {
    const [expiry = '', mac = ''] = token.split('.');
    const later = (Number.parseInt(expiry, 36) + 1).toString(36);
    expect(verifyBootToken(secret, 'pc-1', `${later}.${mac}`, NOW_MS)).toBe('forged');
  });

  it('with any character changed or cut off is refused', () => {
    for (let i = 0; i < token.length; i++) {
      const changed = `${token.slice(0, i)}${token[i] === 'a' ? 'b' : 'a'}${token.slice(i + 1)}`;
      // The last character of base64url carries bits that are not part of the 16 bytes.
      if (i < token.length - 1) expect(verifyBootToken(secret, 'pc-1', changed, NOW_MS)).not.toBe('valid');
      expect(verifyBootToken(secret, 'pc-1', token.slice(0, i), NOW_MS)).toBe('malformed');
    }
    for (const rubbish of ['', '.', 'a.b', 'é', 'x'.repeat(1000), `${token}\n`]) {
      expect(verifyBootToken(secret, 'pc-1', rubbish, NOW_MS)).toBe('malformed');
    }
  });
});
