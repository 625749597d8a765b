/** Sequences under way at once, each on a connection of its own. */
export const PARALLEL_SEQUENCES = 8;
/** A connection that has been given everything, its end included, must be gone within this. */
export const CLOSE_TIMEOUT_MS = 20_000;
/** Blocks that the bystander writes and reads back. */
export const BYSTANDER_BLOCKS = 64;
/** Heap samples taken over one run. */
export const HEAP_SAMPLES = 20;
/** The heap may be larger at the end of a run by this, which is noise of the collector. */
export const HEAP_NOISE_BYTES = 4 * 1_048_576;
