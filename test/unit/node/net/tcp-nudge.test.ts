import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { nudge } from '../../../../node/net/tcp-nudge.ts';
import { internetChecksum, segmentPacket } from '../../../../node/net/tcp-segment.ts';

const from = { address: parseIpv4('192.0.2.50'), port: 3260 };
const to = { address: parseIpv4('192.0.2.7'), port: 40_001 };

describe('a nudge', () => {
  const bytes = segmentPacket(nudge(from, to));

  it('is an acknowledgement of nothing from the portal to the initiator', () => {
    const hex = Buffer.from(bytes).toString('hex');
    expect(hex).toMatch(/^45000028000000004006....c0000232c0000207/);
    expect(hex.slice(40)).toMatch(/^0cbc9c41000000000000000050100000....0000$/);
  });

  it('has checksums that come out right', () => {
    expect(internetChecksum([bytes.subarray(0, 20)])).toBe(0);
    const pseudoHeader = Buffer.from('c0000232c000020700060014', 'hex');
    expect(internetChecksum([pseudoHeader, bytes.subarray(20)])).toBe(0);
  });

  it('sums as RFC 1071 does in its example', () => {
    expect(internetChecksum([Buffer.from('0001f203f4f5f6f7', 'hex')])).toBe(~0xddf2 & 0xffff);
  });
});
