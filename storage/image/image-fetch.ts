import { describeError } from '../../base/errors.ts';
import { type ContentFetcher, fetchFromAny, type HolderAttempts } from './content-fetcher.ts';
import { sha256Hex } from './content-hash.ts';
import { isChunk } from './image-chunk.ts';
import type { ImageManifest } from './image-manifest.ts';
import type { ImageVersionRef } from './image-source.ts';

/** An image version as the cluster agreed on it. */
export interface WantedImage extends ImageVersionRef {
  /** Hexadecimal. */
  readonly manifestSha256: string;
  /** Nodes that hold it; those to fetch it from are others than this one. */
  readonly holders: readonly string[];
}

type OnRefused = HolderAttempts['onRefused'];

/** Whether it is the manifest that the cluster agreed on. */
export async function isManifestOf(
  { manifestSha256 }: Pick<WantedImage, 'manifestSha256'>,
  input: Uint8Array,
): Promise<boolean> {
  return (await sha256Hex(input)) === manifestSha256;
}

/** @throws OperationError kind "unavailable" when no holder gives the right one */
export function fetchManifest(
  fetcher: ContentFetcher,
  wanted: WantedImage,
  onRefused: OnRefused,
): Promise<Uint8Array> {
  return fetchFromAny({
    holders: wanted.holders,
    startAt: 0,
    what: `the manifest of image ${wanted.name} version ${wanted.version}`,
    fetch: (from) => fetcher.manifest(from, wanted),
    isSound: (input) => isManifestOf(wanted, input),
    onRefused,
  });
}

/** @throws OperationError kind "unavailable" when no holder gives the right one */
export function fetchChunk(
  fetcher: ContentFetcher,
  wanted: WantedImage,
  { manifest, index }: { readonly manifest: ImageManifest; readonly index: number },
  onRefused: OnRefused,
): Promise<Uint8Array> {
  return fetchFromAny({
    holders: wanted.holders,
    startAt: index,
    what: `chunk ${index} of image ${wanted.name} version ${wanted.version}`,
    fetch: (from) => fetcher.chunk(from, wanted, index),
    isSound: (input) => isChunk(input, manifest, index),
    onRefused,
  });
}

/** Why what a holder gave was not taken. */
export function describeRefusal(error: unknown): string {
  return error === undefined ? 'it does not match its SHA-256' : describeError(error);
}
