import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader } from '../../../base/byte-reader.ts';
import { ByteWriter } from '../../../base/byte-writer.ts';
import { ProtocolError } from '../../../base/errors.ts';
import { bit, bits, bytes, layout, u8, u16, u24, u32, u64 } from '../../../base/layout.ts';

describe('reader and writer', () => {
  it('read back what was written, big-endian', () => {
    const writer = new ByteWriter(2);
    writer
      .u8(0xab)
      .u16(0x0102)
      .u32(0xdeadbeef)
      .u64(0x0123456789abcdefn)
      .cString('hi')
      .bytes(Uint8Array.of(9, 8))
      .zeros(1);
    const written = writer.finish();
    expect(Buffer.from(written).toString('hex')).toBe('ab0102deadbeef0123456789abcdef686900090800');
    const reader = new ByteReader(written, 'sample');
    expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.cString()]).toEqual([
      0xab,
      0x0102,
      0xdeadbeef,
      0x0123456789abcdefn,
      'hi',
    ]);
    expect([...reader.bytes(2)]).toEqual([9, 8]);
    expect(reader.remaining).toBe(1);
  });

  it('never read past the end', () => {
    for (const read of [
      (r: ByteReader) => r.u16(),
      (r: ByteReader) => r.u24(),
      (r: ByteReader) => r.u32(),
      (r: ByteReader) => r.u64(),
      (r: ByteReader) => r.bytes(2),
      (r: ByteReader) => r.bytes(-1),
      (r: ByteReader) => r.cString(),
    ]) {
      expect(() => read(new ByteReader(Uint8Array.of(1), 'sample'))).toThrow(ProtocolError);
    }
    // A NUL beyond the given end does not count.
    expect(() => new ByteReader(Uint8Array.of(65, 0), 'sample', 0, 1).cString()).toThrow(ProtocolError);
  });
});

const sample = layout('sample', 24, {
  a: u8(0),
  b: u16(1),
  c: u24(3),
  d: u32(6),
  e: u64(10),
  flag: bit(18, 7),
  low: bits(18, 0, 4),
  tail: bytes(19, 5),
});

describe('layout', () => {
  it('encodes the hex vector', () => {
    const encoded = sample.encode({
      a: 1,
      b: 0x203,
      c: 0x40506,
      d: 0xf0000001,
      e: 2n,
      flag: true,
      low: 9,
      tail: Buffer.from('abcde'),
    });
    expect(Buffer.from(encoded).toString('hex')).toBe('010203040506f00000010000000000000002896162636465');
  });

  it('round trips any value', () => {
    const value = fc.record({
      a: fc.integer({ min: 0, max: 0xff }),
      b: fc.integer({ min: 0, max: 0xffff }),
      c: fc.integer({ min: 0, max: 0xffffff }),
      d: fc.integer({ min: 0, max: 0xffffffff }),
      e: fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
      flag: fc.boolean(),
      low: fc.integer({ min: 0, max: 15 }),
      tail: fc.uint8Array({ minLength: 5, maxLength: 5 }),
    });
    fc.assert(
      fc.property(value, fc.integer({ min: 0, max: 3 }), (v, at) => {
        const buffer = new Uint8Array(30).fill(0xff);
        sample.encode(v, buffer, at);
        expect(sample.decode(buffer, at)).toEqual(v);
      }),
    );
  });

  it('refuses every truncation', () => {
    const encoded = sample.encode({});
    for (let length = 0; length < encoded.length; length++) {
      expect(() => sample.decode(encoded.subarray(0, length))).toThrow(/needs 24 bytes/);
    }
  });
});
