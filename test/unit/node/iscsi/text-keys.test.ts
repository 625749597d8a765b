import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeTextKeys, encodeTextKeys } from '../../../../node/iscsi/text-keys.ts';

const hex = '4865616465724469676573743d4e6f6e65004d6178436f6e6e656374696f6e733d3100';

test('hex vector', () => {
  const keys = [
    { key: 'HeaderDigest', value: 'None' },
    { key: 'MaxConnections', value: '1' },
  ];
  expect(decodeTextKeys(Buffer.from(hex, 'hex'))).toEqual(keys);
  expect(Buffer.from(encodeTextKeys(keys)).toString('hex')).toBe(hex);
});

test('round trip', () => {
  const key = fc.stringMatching(/^[A-Z][A-Za-z0-9.+@_-]{0,62}$/);
  const value = fc.stringMatching(/^[ -~]{0,200}$/);
  fc.assert(
    fc.property(fc.array(fc.record({ key, value }), { maxLength: 20 }), (keys) => {
      expect(decodeTextKeys(encodeTextKeys(keys))).toEqual(keys);
    }),
  );
});

test('text cut off at any byte is refused, unless it ends between two keys', () => {
  const bytes = Buffer.from(hex, 'hex');
  for (let length = 1; length < bytes.length; length++) {
    const cut = bytes.subarray(0, length);
    if (cut.at(-1) === 0) expect(decodeTextKeys(cut)).toHaveLength(1);
    else expect(() => decodeTextKeys(cut)).toThrow(expect.objectContaining({ code: 'unterminated-text' }));
  }
  expect(decodeTextKeys(new Uint8Array())).toEqual([]);
});

test('what is not a key, and too much of anything, is refused', () => {
  const decode = (text: string): unknown => decodeTextKeys(Buffer.from(text, 'latin1'));
  expect(() => decode('novalue\0')).toThrow(expect.objectContaining({ code: 'bad-key' }));
  expect(() => decode('=x\0')).toThrow(expect.objectContaining({ code: 'bad-key' }));
  expect(() => decode(`${'K'.repeat(64)}=x\0`)).toThrow(expect.objectContaining({ code: 'bad-key' }));
  expect(() => decode(`K=${'x'.repeat(8193)}\0`)).toThrow(expect.objectContaining({ code: 'bad-value' }));
  expect(() => decode('K=x\0'.repeat(129))).toThrow(expect.objectContaining({ code: 'too-many-keys' }));
  expect(() => decode('\0'.repeat(65_537))).toThrow(expect.objectContaining({ code: 'text-too-long' }));
});

test('arbitrary bytes never do more than be refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeTextKeys(bytes);
      } catch (error) {
        expect(error).toMatchObject({ name: 'ProtocolError' });
      }
    }),
  );
});
