import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, type Frame, FrameDecoder, FrameType } from '../../../../node/peer/frame-codec.ts';

/** Copies, since bodies are views of chunks. */
function decodeAll(decoder: FrameDecoder, chunks: readonly Uint8Array[]): Frame[] {
  return chunks.flatMap((chunk) => [...decoder.push(chunk)].map((f) => ({ ...f, body: f.body.slice() })));
}

describe('frames', () => {
  it('have this form on the wire', () => {
    const bytes = encodeFrame(FrameType.message, Buffer.from('hi'));
    expect(Buffer.from(bytes).toString('hex')).toBe('00000002036869');
    expect(Buffer.from(encodeFrame(FrameType.ping)).toString('hex')).toBe('0000000004');
  });

  it('come back however the stream is cut', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (sent, cuts) => {
        const stream = Buffer.concat(sent.map((b) => encodeFrame(FrameType.message, b)));
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const length = cuts[i % cuts.length] ?? 1;
          chunks.push(stream.subarray(at, at + length));
          at += length;
        }
        const got = decodeAll(new FrameDecoder(100), chunks);
        expect(got.map((f) => [...f.body])).toEqual(sent.map((b) => [...b]));
      }),
    );
  });

  it('wait for the rest when cut short at any byte', () => {
    const bytes = encodeFrame(FrameType.message, Buffer.from('hello'));
    for (let end = 0; end < bytes.length; end++) {
      const decoder = new FrameDecoder(100);
      expect(decodeAll(decoder, [bytes.subarray(0, end)])).toEqual([]);
      expect(decodeAll(decoder, [bytes.subarray(end)])).toHaveLength(1);
    }
  });

  it('over the limit are refused before anything is allocated for them', () => {
    const decoder = new FrameDecoder(4);
    expect(() => decodeAll(decoder, [Buffer.from('ffffffff03', 'hex')])).toThrow(/4294967295 bytes/);
    expect(decodeAll(new FrameDecoder(4), [encodeFrame(FrameType.message, Buffer.alloc(4))])).toHaveLength(1);
  });
});
