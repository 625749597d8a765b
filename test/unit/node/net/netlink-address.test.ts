import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { addressRequest, answeredError } from '../../../../node/net/netlink-address.ts';

const ADDRESS = parseIpv4('192.0.2.50');

describe('a change of addresses by netlink', () => {
  it.each([
    // header (length 40, type 20, flags, number 1, sender 0), inet /32 on interface 3, IFA_LOCAL, IFA_ADDRESS
    ['add', '28000000140005060100000000000000022000000300000008000200c000023208000100c0000232'],
    ['del', '28000000150005000100000000000000022000000300000008000200c000023208000100c0000232'],
  ] as const)('%s has this form', (verb, hex) => {
    expect(Buffer.from(addressRequest(verb, ADDRESS, 3)).toString('hex')).toBe(hex);
  });

  it('is answered by an error or none', () => {
    const answer = Buffer.alloc(20);
    answer.writeUInt16LE(2, 4);
    expect(answeredError(answer)).toBe('');
    answer.writeInt32LE(-99, 16);
    expect(answeredError(answer)).toBe('EADDRNOTAVAIL');
    expect(answeredError(answer.subarray(0, 19))).toBeUndefined();
    answer.writeUInt16LE(3, 4);
    expect(answeredError(answer)).toBeUndefined();
  });
});
