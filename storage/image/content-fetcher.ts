import { OperationError } from '../../base/errors.ts';
import type { ImageVersionRef } from './image-source.ts';
import { TRIES_PER_HOLDER } from './limits.ts';

/**
 * The port to other nodes' stores. Every call settles within a bounded time. What it yields is not trusted:
 * the caller compares its SHA-256.
 */
export interface ContentFetcher {
  manifest(from: string, ref: ImageVersionRef): Promise<Uint8Array>;
  chunk(from: string, ref: ImageVersionRef, index: number): Promise<Uint8Array>;
  bootFile(from: string, name: string, sha256: string): Promise<Uint8Array>;
}

export interface HolderAttempts {
  readonly holders: readonly string[];
  /** Which holder is asked first; spreads chunks over them. */
  readonly startAt: number;
  /** What is fetched, for the error. */
  readonly what: string;
  readonly fetch: (from: string) => Promise<Uint8Array>;
  readonly isSound: (bytes: Uint8Array) => Promise<boolean>;
  /** Told of each failed attempt; `error` is undefined when what came was damaged. */
  readonly onRefused: (from: string, error: unknown) => void;
}

/**
 * Asks one holder after another until one gives the right bytes.
 * @throws OperationError kind "unavailable" when none does
 */
export async function fetchFromAny(attempts: HolderAttempts): Promise<Uint8Array> {
  const { holders, startAt } = attempts;
  for (let i = 0; i < holders.length * TRIES_PER_HOLDER; i++) {
    const from = holders[(startAt + i) % holders.length] as string;
    try {
      const bytes = await attempts.fetch(from);
      if (await attempts.isSound(bytes)) return bytes;
      attempts.onRefused(from, undefined);
    } catch (error) {
      attempts.onRefused(from, error);
    }
  }
  throw new OperationError(`no node gave a sound copy of ${attempts.what}`, {
    kind: 'unavailable',
    code: 'no-sound-copy',
    got: holders,
    accepted: 'at least one reachable node that holds it',
  });
}
