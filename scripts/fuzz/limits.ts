/** Sequences under way at once, each on a connection of its own. */
export const PARALLEL_SEQUENCES = 8;
/**
 * A connection that has been given everything, its end included, must be gone within this: less than after what the target
 * gives up one that stalls, and enough for a machine that has no time for it.
 */
export const CLOSE_TIMEOUT_MS = 45_000;
/** Blocks that the bystander writes and reads back. */
export const BYSTANDER_BLOCKS = 64;
/** Heap samples taken over one run. */
export const HEAP_SAMPLES = 20;
/** The heap may be larger at the end of a run by this, which is noise of the collector. */
export const HEAP_NOISE_BYTES = 4 * 1_048_576;
