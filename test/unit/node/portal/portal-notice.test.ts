import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { parseIpv4 } from '../../../../base/ipv4.ts';
import { MAX_NOTICE_ENDPOINTS } from '../../../../node/portal/limits.ts';
import { decodeNotice, encodeNotice, endpointOf } from '../../../../node/portal/portal-notice.ts';

const initiators = [
  { address: parseIpv4('192.0.2.1'), port: 40_000 },
  { address: parseIpv4('203.0.113.255'), port: 65_535 },
];

describe('what a portal lets the other members know', () => {
  it('has these bytes', () => {
    const bytes = encodeNotice({ isOpen: true, initiators });
    expect(Buffer.from(bytes).toString('hex')).toBe('01010002c00002019c40cb0071ffffff');
  });

  it('comes through', () => {
    for (const notice of [
      { isOpen: true, initiators },
      { isOpen: false, initiators: [] },
    ]) {
      expect(decodeNotice(encodeNotice(notice))).toEqual(notice);
    }
  });

  it('tells of so many initiators at most', () => {
    const many = Array.from(
      { length: MAX_NOTICE_ENDPOINTS + 1 },
      () => initiators[0] as (typeof initiators)[0],
    );
    expect(decodeNotice(encodeNotice({ isOpen: true, initiators: many })).initiators).toHaveLength(
      MAX_NOTICE_ENDPOINTS,
    );
    const tooMany = Buffer.from(encodeNotice({ isOpen: true, initiators }));
    tooMany.writeUInt16BE(MAX_NOTICE_ENDPOINTS + 1, 2);
    expect(() => decodeNotice(tooMany)).toThrow(ProtocolError);
  });

  it('may be longer in later versions, and is never read past its end', () => {
    const later = Buffer.concat([encodeNotice({ isOpen: true, initiators }), Buffer.from('more')]);
    later[0] = 2;
    expect(decodeNotice(later)).toEqual({ isOpen: true, initiators });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          decodeNotice(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });

  it('knows initiators by IPv4 address and port', () => {
    expect(endpointOf('192.0.2.1:40000')).toEqual(initiators[0]);
    expect(endpointOf('::ffff:192.0.2.1:40000')).toEqual(initiators[0]);
    expect(endpointOf('?:0')).toBeUndefined();
    expect(endpointOf('2001:db8::1:40000')).toBeUndefined();
  });
});
