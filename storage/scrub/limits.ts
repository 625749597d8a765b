/** Everything is read through again so long after it was last. */
export const SCRUB_EVERY_MS = 7 * 24 * 3_600_000;
/** A node that has never been read through begins so long after its start. */
export const SCRUB_FIRST_MS = 600_000;
/** How often it is asked whether it is time. */
export const SCRUB_LOOK_MS = 30_000;
/** Read at a time; what clients want waits for no more than this. */
export const SCRUB_PART_BYTES = 1024 * 1024;
/** While no client reads or writes. */
export const SCRUB_BYTES_PER_S = 32 * 1024 * 1024;
/** While some do. */
export const SCRUB_BUSY_BYTES_PER_S = 4 * 1024 * 1024;
/** Progress is noted on the disk so often; after a restart that much may be read again. */
export const SCRUB_SAVE_MS = 10_000;
/** Names of damage told to people; the rest is counted. */
export const MAX_DAMAGE_TOLD = 20;
/** Damaged parts of images that are known at a time; the next pass finds the others. */
export const MAX_DAMAGED_PARTS = 1_024;
/** Pause before other nodes are asked again for parts of images that none could give. */
export const DAMAGE_RETRY_MS = 60_000;
