import { describe, expect, it } from 'vitest';
import { bitString, der, integer, objectIdentifier, sequence, time } from '../../../../node/setup/der.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('DER', () => {
  it.each([
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [256, '04820100'],
    [65_536, '0483010000'],
  ])('encodes a length of %i', (length, head) => {
    const encoded = der(0x04, new Uint8Array(length));
    expect(hex(encoded.subarray(0, head.length / 2))).toBe(head);
    expect(encoded.length).toBe(head.length / 2 + length);
  });

  it('keeps integers positive and minimal', () => {
    expect(hex(integer(Uint8Array.of(0)))).toBe('020100');
    expect(hex(integer(Uint8Array.of(0, 0, 5)))).toBe('020105');
    expect(hex(integer(Uint8Array.of(0x80)))).toBe('02020080');
  });

  it('encodes object identifiers in base 128', () => {
    expect(hex(objectIdentifier('1.2.840.10045.4.3.2'))).toBe('06082a8648ce3d040302');
    expect(hex(objectIdentifier('2.5.29.17'))).toBe('0603551d11');
  });

  it('writes times as RFC 5280 wants them', () => {
    expect(Buffer.from(time(Date.UTC(2049, 11, 31, 23, 59, 59))).toString('latin1')).toBe(
      '\x17\x0d491231235959Z',
    );
    expect(Buffer.from(time(Date.UTC(2050, 0, 1))).toString('latin1')).toBe('\x18\x0f20500101000000Z');
  });

  it('nests', () => {
    expect(hex(sequence(bitString(Uint8Array.of(0x80), 7), integer(Uint8Array.of(1))))).toBe(
      '300703020780020101',
    );
  });
});
