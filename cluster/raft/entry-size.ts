import { ENTRY_OVERHEAD_BYTES } from './limits.ts';
import type { Entry } from './types.ts';

/** What entries weigh in messages and in memory. */
export function entriesSizeBytes(entries: readonly Entry[]): number {
  let sizeBytes = 0;
  for (const entry of entries) sizeBytes += entry.data.length + ENTRY_OVERHEAD_BYTES;
  return sizeBytes;
}

/** What the application put in; an entry without data weighs nothing and no quota refuses it. */
export function payloadSizeBytes(entries: readonly Pick<Entry, 'data'>[]): number {
  let sizeBytes = 0;
  for (const entry of entries) sizeBytes += entry.data.length;
  return sizeBytes;
}

/** The longest prefix within `maxSizeBytes`, but never less than one entry, else a large one would block all. */
export function limitSize(entries: readonly Entry[], maxSizeBytes: number): readonly Entry[] {
  let sizeBytes = 0;
  for (const [at, entry] of entries.entries()) {
    sizeBytes += entry.data.length + ENTRY_OVERHEAD_BYTES;
    if (sizeBytes > maxSizeBytes && at > 0) return entries.slice(0, at);
  }
  return entries;
}
