import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../../../base/crc32c.ts';
import { ProtocolError } from '../../../../base/errors.ts';
import {
  blockOfWrite,
  checksumOfIntact,
  crcOfWrite,
  decodeGroupRecord,
  encodeControlRecord,
  sealWriteRecord,
  type WriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';

function writeRecord(firstBlock: number, blockCount: number, fill: number): Uint8Array {
  const payload = new Uint8Array(writeRecordBytes(blockCount)).fill(fill);
  const checksum = sealWriteRecord(payload, { epoch: 7, lunId: 3, firstBlock, blockCount });
  expect(checksum).toBe(crc32c(payload));
  return payload;
}

const samples = [
  encodeControlRecord({ kind: 'epochStart', epoch: 5, primary: 'n1' }),
  encodeControlRecord({
    kind: 'resetLun',
    epoch: 5,
    lunId: 9,
    generation: 0x1_0000_0002,
    lengthBlocks: 2048,
    base: { name: 'gold', version: 3 },
  }),
  encodeControlRecord({ kind: 'dropLun', epoch: 5, lunId: 9 }),
  encodeControlRecord({ kind: 'discard', epoch: 5, lunId: 9, firstBlock: 7, blockCount: 1000 }),
  encodeControlRecord({ kind: 'serverState', epoch: 5, lunId: 9, state: Buffer.from('held') }),
];

describe('log records', () => {
  it('have these bytes', () => {
    expect(samples.map((bytes) => Buffer.from(bytes).toString('hex'))).toEqual([
      '01000000000000050000000000000000026e31',
      '03000000000000050000000900000000000000010000000200000000000008000000000304676f6c64',
      '04000000000000050000000900000000',
      '05000000000000050000000900000007000003e8',
      '060000000000000500000009000000000000000468656c64',
    ]);
    const write = writeRecord(0x10, 1, 0);
    // CRC32C of 4096 zero bytes is 98f94189.
    expect(Buffer.from(write.subarray(0, 20)).toString('hex')).toBe(
      '0200000100000007000000030000001098f94189',
    );
  });

  it('decode to what was encoded', () => {
    expect(decodeGroupRecord(samples[0] as Uint8Array)).toEqual({
      kind: 'epochStart',
      epoch: 5,
      primary: 'n1',
    });
    expect(decodeGroupRecord(samples[1] as Uint8Array)).toEqual({
      kind: 'resetLun',
      epoch: 5,
      lunId: 9,
      generation: 0x1_0000_0002,
      lengthBlocks: 2048,
      base: { name: 'gold', version: 3 },
    });
    fc.assert(
      fc.property(
        fc.record({
          epoch: fc.integer({ min: 0, max: 0xffffffff }),
          lunId: fc.integer({ min: 0, max: 0xffffffff }),
          generation: fc.maxSafeNat(),
          lengthBlocks: fc.maxSafeNat(),
          base: fc.record({ name: fc.string({ maxLength: 60 }), version: fc.nat() }),
        }),
        (fields) => {
          // Text is carried as UTF-8, which has no lone surrogates.
          fc.pre(!/[\ud800-\udfff]/u.test(fields.base.name));
          const record = { kind: 'resetLun', ...fields } as const;
          expect(decodeGroupRecord(encodeControlRecord(record))).toEqual(record);
        },
      ),
    );
  });

  it('carry blocks with a checksum each', () => {
    const payload = writeRecord(100, 3, 0x5a);
    const record = decodeGroupRecord(payload) as WriteRecord;
    expect(record).toMatchObject({ kind: 'write', epoch: 7, lunId: 3, firstBlock: 100, blockCount: 3 });
    expect(crcOfWrite(payload, 2)).toBe(crc32c(blockOfWrite(payload, 3, 2)));
    expect(checksumOfIntact(record)).toBe(crc32c(payload));
    blockOfWrite(payload, 3, 1)[17] = 0;
    expect(checksumOfIntact(record)).toBeUndefined();
  });

  it('are refused when cut short at any byte, or too long', () => {
    for (const sample of samples) {
      for (let length = 0; length < sample.length; length++) {
        expect(() => decodeGroupRecord(sample.subarray(0, length))).toThrow(ProtocolError);
      }
      expect(() => decodeGroupRecord(Buffer.concat([sample, Buffer.alloc(1)]))).toThrow('too many');
    }
    const write = writeRecord(1, 1, 1);
    for (let length = 0; length < write.length; length++) {
      expect(() => decodeGroupRecord(write.subarray(0, length))).toThrow(ProtocolError);
    }
    expect(() => decodeGroupRecord(Buffer.concat([write, Buffer.alloc(1)]))).toThrow('too many');
  });

  it('never break on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decodeGroupRecord(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});
