import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { decodeFrame, encodeFrame, type Frame, groupOfFrame } from '../../../../storage/replication/frame.ts';

const fromPrimary = {
  group: 'pg1',
  epoch: 6,
  reign: 5,
  sentAtMs: 1.5,
  leaseMs: 800,
  commitIndex: 0x1_0000_0001,
  syncIndex: 7,
};
const fromMember = {
  group: 'pg1',
  epoch: 6,
  reign: 5,
  echoMs: 1.5,
  leaseMs: 800,
  nextIndex: 12,
  durableIndex: 11,
  imagesReady: true,
  full: false,
  low: false,
  filling: false,
  takesVoids: true,
  released: false,
};
const epochs = [
  { epoch: 2, startIndex: 1 },
  { epoch: 5, startIndex: 9 },
];
const frames: Frame[] = [
  { kind: 'heartbeat', ...fromPrimary },
  {
    kind: 'append',
    ...fromPrimary,
    firstIndex: 10,
    previousEpoch: 5,
    records: [Buffer.from('ab'), Buffer.from(''), Buffer.from('cde')],
  },
  { kind: 'truncate', ...fromPrimary, fromIndex: 9 },
  { kind: 'reset', ...fromPrimary, baseIndex: 40, epochs, snapshot: Buffer.from('[]') },
  { kind: 'ack', ...fromMember },
  { kind: 'ack', ...fromMember, imagesReady: false, released: true },
  { kind: 'position', ...fromMember, full: true, epochs },
  { kind: 'reject', group: 'pg1', epoch: 9, primary: 'n2' },
  { kind: 'notice', group: 'pg1', epoch: 9, notice: Buffer.from('x') },
  { kind: 'recordRequest', group: 'pg1', epoch: 9, index: 77 },
  { kind: 'record', group: 'pg1', epoch: 9, index: 77, payload: undefined, crc: 0 },
  { kind: 'ack', ...fromMember, low: true },
  { kind: 'ack', ...fromMember, filling: true },
];

const bytesOf = (frame: Frame): Buffer => Buffer.concat(encodeFrame(frame));

describe('replication frames', () => {
  it('have these bytes', () => {
    expect(bytesOf(frames[0] as Frame).toString('hex')).toBe(
      '01037067310000000600000005' +
        '3ff8000000000000' +
        '00000320' +
        '0000000100000001' +
        '0000000000000007',
    );
    expect(bytesOf(frames[7] as Frame).toString('hex')).toBe('070370673100000009026e32');
  });

  it('decode to what was encoded', () => {
    for (const frame of frames) {
      expect(decodeFrame(bytesOf(frame))).toEqual(frame);
      expect(groupOfFrame(bytesOf(frame))).toBe('pg1');
    }
    const index = fc.maxSafeNat();
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(
        index,
        index,
        u32,
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }),
        (a, b, c, list) => {
          const records = list.map((bytes) => Buffer.from(bytes));
          const frame: Frame = {
            kind: 'append',
            ...fromPrimary,
            commitIndex: a,
            firstIndex: b,
            previousEpoch: c,
            records,
          };
          expect(decodeFrame(bytesOf(frame))).toEqual(frame);
        },
      ),
    );
  });

  it('are refused when cut short at any byte, or too long', () => {
    for (const frame of frames) {
      const bytes = bytesOf(frame);
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeFrame(bytes.subarray(0, length))).toThrow(ProtocolError);
      }
      expect(() => decodeFrame(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow('too many');
    }
  });

  it('are refused with a table of epochs out of order', () => {
    const frame: Frame = { kind: 'position', ...fromMember, epochs: [...epochs].reverse() };
    expect(() => decodeFrame(bytesOf(frame))).toThrow('out of order');
  });

  it('never break on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.integer({ min: 1, max: 10 }), (bytes, kind) => {
        if (bytes.length > 0) bytes[0] = kind;
        try {
          decodeFrame(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});
