import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../base/errors.ts';
import { isAllZeros } from '../../../../storage/image/content-hash.ts';
import { ImageManifest } from '../../../../storage/image/image-manifest.ts';
import { CHUNK_BYTES } from '../../../../storage/image/limits.ts';

describe('image manifest', () => {
  const hash = new Uint8Array(32).fill(0xab);
  const manifest = ImageManifest.of(CHUNK_BYTES + 512, [undefined, hash]);

  it('has its bytes in the documented places', () => {
    expect(Buffer.from(manifest.encode()).toString('hex')).toBe(
      [
        '6266496d61676531', // "bfImage1"
        '0000000000100200',
        '00100000',
        '00000002',
        '00'.repeat(32),
        'ab'.repeat(32),
      ].join(''),
    );
  });

  it('tells chunks of zeros from stored ones, and the length of the last', () => {
    expect(manifest.chunkSha256(0)).toBeUndefined();
    expect(manifest.chunkSha256(1)).toEqual(hash);
    expect(manifest.storedChunks()).toEqual([1]);
    expect([manifest.chunkLengthBytes(0), manifest.chunkLengthBytes(1)]).toEqual([CHUNK_BYTES, 512]);
  });

  it('comes back as it was', () => {
    const chunk = fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined });
    const input = fc.tuple(
      fc.array(chunk, { minLength: 1, maxLength: 9 }),
      fc.integer({ min: 1, max: 2048 }),
    );
    fc.assert(
      fc.property(input, ([chunks, lastBlocks]) => {
        const sizeBytes = (chunks.length - 1) * CHUNK_BYTES + lastBlocks * 512;
        const decoded = ImageManifest.decode(ImageManifest.of(sizeBytes, chunks).encode());
        expect(decoded.sizeBytes).toBe(sizeBytes);
        for (const [i, expected] of chunks.entries()) {
          const isZero = expected === undefined || isAllZeros(expected);
          expect(decoded.chunkSha256(i)).toEqual(isZero ? undefined : expected);
        }
      }),
    );
  });

  it('is refused when cut or lengthened; a changed header is refused or says something else', () => {
    const bytes = manifest.encode();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => ImageManifest.decode(bytes.subarray(0, length))).toThrow(ProtocolError);
    }
    expect(() => ImageManifest.decode(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow(ProtocolError);
    for (let i = 0; i < 24; i++) {
      const broken = bytes.slice();
      broken[i] = (broken[i] as number) ^ 0x80;
      let decoded: ImageManifest | undefined;
      try {
        decoded = ImageManifest.decode(broken);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
      // Only a size of as many chunks can pass, and there is one spelling of it.
      if (decoded !== undefined) {
        expect(decoded.sizeBytes).not.toBe(manifest.sizeBytes);
        expect(Buffer.compare(decoded.encode(), broken)).toBe(0);
      }
    }
  });
});
