import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { decodeHello, decodeRefusal, encodeHello, encodeRefusal } from '../../../../node/peer/hello-codec.ts';

const HELLO = { service: 'cluster', clusterId: 'c1', nodeId: 'n1', incarnation: 'i1' };
// magic, version, then service, cluster, node and incarnation, each behind its length
const HELLO_HEX = '62666162000107636c7573746572026331026e31026931';

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
    expect(Buffer.from(encodeHello(HELLO)).toString('hex')).toBe(HELLO_HEX);
    expect(decodeHello(Buffer.from(HELLO_HEX, 'hex'))).toEqual(HELLO);
  });

  it('comes back as it went', () => {
    const id = fc.string({ unit: 'binary', maxLength: 60 });
    fc.assert(
      fc.property(fc.record({ service: id, clusterId: id, nodeId: id, incarnation: id }), (hello) => {
        expect(decodeHello(encodeHello(hello))).toEqual(hello);
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
    expect(codeOf(() => decodeHello(encodeHello(HELLO, 2)))).toBe('protocol-version');
    const broken = Buffer.from(bytes);
    broken[broken.length - 1] = 0xff;
    expect(codeOf(() => decodeHello(broken))).toBe('bad-text');
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
