import { setFlagsFromString } from 'node:v8';
import type { ResourceLimits } from 'node:worker_threads';
import { OLD_GENERATION_INITIAL_MIB, YOUNG_GENERATION_MIB } from './limits.ts';

/**
 * The heap of a data-plane worker, to be asked for just before it is started. What it has in flight is mostly
 * buffers outside the heap, which V8 counts against the size of the old generation: where that begins small, as it
 * does, it is collected dozens of times a second under load, to find next to nothing.
 */
export function dataPlaneHeap(): ResourceLimits {
  // There is no limit of this name; the flag holds for heaps made from now on, which are those of workers.
  setFlagsFromString(`--initial-old-space-size=${OLD_GENERATION_INITIAL_MIB}`);
  return { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB };
}
