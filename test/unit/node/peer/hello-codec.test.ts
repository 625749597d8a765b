import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import {
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  type ProtocolRange,
} from '../../../../node/peer/hello-codec.ts';

const HELLO = { service: 'cluster', clusterId: 'c1', nodeId: 'n1', incarnation: 'i1' };
// magic, newest and oldest version, then service, cluster, node and incarnation, each behind its length
const HELLO_HEX = '626661620002000207636c7573746572026331026e31026931';
// the same of version 3, with the digest of the last word
const HELLO_3 = { ...HELLO, lastWordDigest: 'd1' };
const HELLO_3_HEX = '626661620003000207636c7573746572026331026e31026931026431';
// the same of version 4, from a second worker
const HELLO_4 = { ...HELLO_3, worker: 1 };
const HELLO_4_HEX = '626661620004000207636c7573746572026331026e3102693102643101';

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
  return 'none';
}

describe('hello', () => {
  it('has this form on the wire', () => {
    const version2 = { oldest: 2, newest: 2 };
    expect(Buffer.from(encodeHello(HELLO_3, version2)).toString('hex')).toBe(HELLO_HEX);
    expect(decodeHello(Buffer.from(HELLO_HEX, 'hex'))).toEqual({ hello: HELLO, version: 2 });
    const version3 = { oldest: 2, newest: 3 };
    expect(Buffer.from(encodeHello(HELLO_4, version3)).toString('hex')).toBe(HELLO_3_HEX);
    expect(Buffer.from(encodeHello(HELLO_4)).toString('hex')).toBe(HELLO_4_HEX);
    expect(decodeHello(Buffer.from(HELLO_4_HEX, 'hex'))).toEqual({ hello: HELLO_4, version: 4 });
    expect(decodeHello(Buffer.from(HELLO_3_HEX, 'hex'))).toEqual({ hello: HELLO_3, version: 3 });
    expect(decodeHello(Buffer.from(HELLO_3_HEX, 'hex'), version2)).toEqual({ hello: HELLO_3, version: 2 });
  });

  it('comes back as it went', () => {
    const id = fc.string({ unit: 'binary', maxLength: 60 });
    fc.assert(
      fc.property(fc.record({ service: id, clusterId: id, nodeId: id, incarnation: id }), (hello) => {
        expect(decodeHello(encodeHello(hello)).hello).toEqual(hello);
      }),
    );
  });

  it('is refused when cut short anywhere, or when more follows', () => {
    const bytes = Buffer.from(HELLO_HEX, 'hex');
    for (let end = 0; end < bytes.length; end++) {
      expect(codeOf(() => decodeHello(bytes.subarray(0, end)))).toBe('truncated');
    }
    expect(codeOf(() => decodeHello(Buffer.concat([bytes, Buffer.of(0)])))).toBe('trailing-bytes');
  });

  it('is refused with another magic, version or broken text', () => {
    const bytes = Buffer.from(HELLO_HEX, 'hex');
    expect(codeOf(() => decodeHello(Buffer.concat([Buffer.of(0x47), bytes.subarray(1)])))).toBe('bad-magic');
    // All that version 1 said.
    expect(codeOf(() => decodeHello(Buffer.from('626661620001', 'hex')))).toBe('protocol-version');
    const broken = Buffer.from(bytes);
    broken[broken.length - 1] = 0xff;
    expect(codeOf(() => decodeHello(broken))).toBe('bad-text');
  });
});

describe('two versions of the protocol', () => {
  const meet = (one: [number, number], other: [number, number]): number | string => {
    const [a, b] = [one, other].map(([oldest, newest]) => ({ oldest, newest })) as [
      ProtocolRange,
      ProtocolRange,
    ];
    const seen = [
      [a, b],
      [b, a],
    ].map(([from, to]) => {
      try {
        return decodeHello(encodeHello(HELLO, from), to).version;
      } catch (error) {
        if (error instanceof ProtocolError && error.code === 'protocol-version') return error.message;
        throw error;
      }
    });
    // Both sides come to the same.
    if (typeof seen[0] === 'number') expect(seen[1]).toBe(seen[0]);
    else expect(typeof seen[1]).toBe('string');
    return seen[0] as number | string;
  };

  it('meet at the newest that both speak, or say what each does', () => {
    expect(meet([2, 2], [2, 2])).toBe(2);
    expect(meet([2, 3], [2, 2])).toBe(2);
    expect(meet([2, 5], [3, 4])).toBe(4);
    expect(meet([2, 2], [3, 4])).toBe(
      'the other node speaks version 2 of the peer protocol, this one versions 3 to 4',
    );
    fc.assert(
      fc.property(fc.nat(9), fc.nat(9), fc.nat(9), fc.nat(9), (a, b, c, d) => {
        const met = meet([a + 2, a + b + 2], [c + 2, c + d + 2]);
        const best = Math.min(a + b, c + d) + 2;
        expect(met).toEqual(best >= Math.max(a, c) + 2 ? best : expect.any(String));
      }),
    );
  });

  it('of which the newer one says more than the older one knows', () => {
    const newer = Buffer.concat([encodeHello(HELLO, { oldest: 2, newest: 3 }), Buffer.of(1, 2, 3)]);
    expect(decodeHello(newer, { oldest: 2, newest: 2 })).toEqual({ hello: HELLO, version: 2 });
  });
});

describe('refusal', () => {
  it('has this form, round trips, and is checked to the last byte', () => {
    const bytes = encodeRefusal({ code: 'no', message: 'why' });
    expect(Buffer.from(bytes).toString('hex')).toBe('026e6f03776879');
    expect(decodeRefusal(bytes)).toEqual({ code: 'no', message: 'why' });
    for (let end = 0; end < bytes.length; end++) {
      expect(codeOf(() => decodeRefusal(bytes.subarray(0, end)))).toBe('truncated');
    }
  });

  it('cuts a long reason between characters', () => {
    const { message } = decodeRefusal(encodeRefusal({ code: 'x', message: 'ä'.repeat(200) }));
    expect(message).toBe('ä'.repeat(127));
  });
});
