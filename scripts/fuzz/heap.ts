import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { HEAP_NOISE_BYTES } from './limits.ts';

/** Bytes in use after a full collection: objects and the buffers they hold. */
export function usedHeapBytes(): number {
  const collect = collector();
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** That of --expose-gc, or the same made available now. */
function collector(): () => void {
  const exposed: unknown = (globalThis as { gc?: unknown }).gc;
  if (typeof exposed === 'function') return exposed as () => void;
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

/**
 * Whether a heap has stopped growing. What is made once (compiled code, pools) comes in the first half of a run;
 * a leak goes on in the second.
 * @param samples bytes in use, taken at even distances
 * @returns what is wrong, in words
 */
export function heapGrowth(samples: readonly number[]): string | undefined {
  const half = samples.slice(Math.floor(samples.length / 2));
  const third = Math.max(1, Math.floor(half.length / 3));
  const before = Math.min(...half.slice(0, third));
  const after = Math.min(...half.slice(-third));
  if (after - before <= HEAP_NOISE_BYTES) return undefined;
  const mebibytes = (bytes: number): string => (bytes / 1_048_576).toFixed(1);
  return `the heap grew from ${mebibytes(before)} to ${mebibytes(after)} MiB in the second half of the run`;
}
