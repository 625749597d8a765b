import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlabMemory } from '../../../../base/slab-memory.ts';
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

  it('are not damaged where chunks are lent, and would be if they were views of them', () => {
    const sent = [0, 3, 1_024, 1_025, 5_000, 40_000, 17].map((length, i) => Buffer.alloc(length, i + 1));
    const stream = Buffer.concat(sent.map((body) => encodeFrame(FrameType.message, body)));
    const intact = (chunksAreLent: boolean): number => {
      const decoder = new FrameDecoder(100_000, new SlabMemory(100_000, 1));
      decoder.chunksAreLent = chunksAreLent;
      const chunk = Buffer.alloc(16_384);
      const bodies: Uint8Array[] = [];
      for (let at = 0; at < stream.length; at += chunk.length) {
        const length = stream.copy(chunk, 0, at, at + chunk.length);
        const part = chunk.subarray(0, length);
        if (!decoder.goesOn(part)) for (const { body } of decoder.push(part)) bodies.push(body);
        chunk.fill(0xff);
      }
      expect(bodies.map((body) => body.length)).toEqual(sent.map((body) => body.length));
      return bodies.filter((body, i) => sent[i]?.equals(body)).length;
    };
    expect(intact(true)).toBe(sent.length);
    expect(intact(false)).toBeLessThan(sent.length);
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
