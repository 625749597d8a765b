import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../../../base/crc32c.ts';
import { decodeMarkerSlot, encodeMarkerSlot } from '../../../../storage/log/durable-marker.ts';
import {
  decodeRecord,
  decodeSegmentHeader,
  encodeSegmentHeader,
  frameRecords,
  resync,
  SALT_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentKey,
} from '../../../../storage/log/segment-codec.ts';

const key = segmentKey({ basePosition: 4096 });

/** Joins groups of digits that stand apart only for reading. */
function hex(...groups: string[]): string {
  return groups.join('').replaceAll(' ', '');
}

function frame(payloads: readonly Uint8Array[], durableEnd = 0): Buffer {
  const context = { key, offset: SEGMENT_HEADER_BYTES, firstRelativeIndex: 0, durableEnd };
  return Buffer.concat(frameRecords(payloads, context).parts);
}

describe('segment header', () => {
  const header = { firstIndex: 7, basePosition: 4096, startsOver: true };

  it('has its bytes in the documented places', () => {
    const out = Buffer.from(encodeSegmentHeader(header));
    expect(out.subarray(0, 44).toString('hex')).toBe(
      hex('62664c6f67536567 00000001 00000001 0000000000000007 0000000000001000', '00'.repeat(12)),
    );
    expect(out.readUInt32BE(44)).toBe(crc32c(out.subarray(0, 44)));
  });

  it('comes back as it was, and any damaged or missing byte is noticed', () => {
    const out = encodeSegmentHeader(header);
    expect(decodeSegmentHeader(out)).toEqual(header);
    const salted = { ...header, salt: Uint8Array.from({ length: SALT_BYTES }, (_, i) => i) };
    expect(decodeSegmentHeader(encodeSegmentHeader(salted))).toEqual(salted);
    for (let i = 0; i < out.length; i++) {
      const broken = out.slice();
      broken[i] = (broken[i] as number) ^ 1;
      expect(decodeSegmentHeader(broken)).toHaveProperty('bad');
      expect(decodeSegmentHeader(out.subarray(0, i))).toHaveProperty('bad');
    }
  });
});

describe('durable marker slot', () => {
  it('has its bytes in the documented places', () => {
    const out = Buffer.from(encodeMarkerSlot({ sequence: 2, position: 258 }));
    expect(out.subarray(0, 28).toString('hex')).toBe(
      hex('62664d6b 0000000000000002 0000000000000102 0000000000000000'),
    );
  });

  it('comes back as it was, and any damaged or missing byte is noticed', () => {
    const out = encodeMarkerSlot({ sequence: 2, position: 258 });
    expect(decodeMarkerSlot(out)).toEqual({ sequence: 2, position: 258 });
    for (let i = 0; i < out.length; i++) {
      const broken = out.slice();
      broken[i] = (broken[i] as number) ^ 1;
      expect(decodeMarkerSlot(broken)).toBeUndefined();
      expect(decodeMarkerSlot(out.subarray(0, i))).toBeUndefined();
    }
  });
});

describe('record', () => {
  it('has its bytes in the documented places', () => {
    const out = frameRecords([Buffer.from('abc')], {
      key,
      offset: 64,
      firstRelativeIndex: 5,
      durableEnd: 48,
    });
    const bytes = Buffer.concat(out.parts);
    const base = '0000000000001000';
    const summed = Buffer.from(hex(base, '00000003 00000030 00000005 616263'), 'hex');
    const crc = crc32c(summed).toString(16).padStart(8, '0');
    expect(bytes.toString('hex')).toBe(hex('00000003', crc, '00000030 00000005 6162630000000000'));
    expect(out.offsets).toEqual([64]);
  });

  it('comes back as it was, whatever its size', () => {
    const payload = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.integer({ min: 2040, max: 2056 }).map((n) => new Uint8Array(n).fill(7)),
    );
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 8 }), (payloads) => {
        const context = { key, offset: 48, firstRelativeIndex: 3, durableEnd: 9 };
        const { parts, sizeBytes, offsets } = frameRecords(payloads, context);
        const bytes = Buffer.concat(parts);
        expect(bytes.length).toBe(sizeBytes);
        for (const [i, expected] of payloads.entries()) {
          const decoded = decodeRecord(bytes, (offsets[i] as number) - 48, key, 3 + i);
          expect(decoded).toMatchObject({ kind: 'record', relativeIndex: 3 + i, durableEnd: 9 });
          if (decoded.kind === 'record') expect(Buffer.compare(decoded.payload, expected)).toBe(0);
        }
      }),
    );
  });

  it('is incomplete when cut anywhere', () => {
    const bytes = frame([Buffer.from('hello, world')]);
    for (let length = 0; length < bytes.length; length++) {
      const decoded = decodeRecord(bytes.subarray(0, length), 0, key, 0);
      expect(decoded.kind).toBe('incomplete');
      if (decoded.kind === 'incomplete') expect(decoded.neededBytes).toBeGreaterThan(length);
    }
  });

  it('is bad when any bit of header or payload is flipped', () => {
    const bytes = frame([Buffer.from('hello, world')]);
    const meaningful = 16 + 12;
    for (let bit = 0; bit < meaningful * 8; bit++) {
      const broken = Buffer.concat([bytes, Buffer.alloc(64 * 1024)]);
      broken[bit >> 3] = (broken[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(decodeRecord(broken, 0, key, 0).kind).not.toBe('record');
    }
  });

  it('is bad in another segment or at another index', () => {
    const bytes = frame([Buffer.from('hello')]);
    expect(decodeRecord(bytes, 0, segmentKey({ basePosition: 8192 }), 0).kind).toBe('bad');
    expect(decodeRecord(bytes, 0, key, 1).kind).toBe('bad');
    expect(decodeRecord(Buffer.alloc(64), 0, key, 0).kind).toBe('bad');
  });
});

describe('resync', () => {
  it('finds whole records behind a damaged one and what they prove durable', () => {
    const bytes = Buffer.concat([
      frame([Buffer.from('first')]),
      ...frameRecords([Buffer.from('second'), Buffer.from('third')], {
        key,
        offset: SEGMENT_HEADER_BYTES + 24,
        firstRelativeIndex: 1,
        durableEnd: 72,
      }).parts,
    ]);
    bytes[17] = 0;
    expect(resync(bytes, SEGMENT_HEADER_BYTES, key, 0, 1e6)).toEqual({
      records: 2,
      durableEnd: 72,
      exhausted: false,
    });
  });

  it('finds nothing in zeros, and gives up within its budget', () => {
    expect(resync(Buffer.alloc(4096), 48, key, 0, 1e6)).toEqual({
      records: 0,
      durableEnd: 0,
      exhausted: false,
    });
    const hostile = Buffer.alloc(64 * 1024);
    for (let at = 0; at < hostile.length; at += 8) {
      hostile.writeUInt32BE(1, at);
      hostile.writeUInt32BE(1, at + 4);
    }
    expect(resync(hostile, 48, key, 0, 100).exhausted).toBe(true);
    // Whoever does not know the salt cannot make anything look like a record.
    const salted = segmentKey({ basePosition: 4096, salt: new Uint8Array(SALT_BYTES).fill(0xa5) });
    expect(resync(hostile, 48, salted, 0, 100)).toEqual({ records: 0, durableEnd: 0, exhausted: false });
  });
});
