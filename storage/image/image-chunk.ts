import { isAllZeros, sha256 } from './content-hash.ts';
import type { ImageManifest } from './image-manifest.ts';

/** Whether bytes are those the manifest means. */
export async function isChunk(chunk: Uint8Array, manifest: ImageManifest, index: number): Promise<boolean> {
  if (chunk.length !== manifest.chunkLengthBytes(index)) return false;
  const expected = manifest.chunkSha256(index);
  if (expected === undefined) return isAllZeros(chunk);
  return Buffer.compare(await sha256(chunk), expected) === 0;
}
