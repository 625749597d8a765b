/** Bounds of `bootfabric serve-lun`. */

/** Files served by one process. */
export const MAX_FILES = 256;
/** Portals given by --listen. */
export const MAX_PORTALS = 16;
export const MAX_WORKERS = 64;
/** Image cache of one worker unless told otherwise, in MiB. */
export const DEFAULT_CACHE_MIB = 256;
export const MAX_CACHE_MIB = 1_048_576;
/** How long a worker may take until all its files are served; its logs are verified meanwhile. */
export const START_TIMEOUT_MS = 600_000;
/** Compared, and where it differs written, at a time when writes are merged into their file. */
export const MERGE_STEP_BYTES = 1_048_576;
/** Memory for what initiators have under way (PortalLimits.memoryBytes), for all workers together. */
export const SESSION_MEMORY_BYTES = 96 * 1_048_576;
/** What a worker has of that at least, however many there are: several of the largest commands. */
export const MIN_WORKER_SESSION_MEMORY_BYTES = 32 * 1_048_576;
