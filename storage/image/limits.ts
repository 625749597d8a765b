/** Every bound of the image and boot file stores, in one place. */

/** Images are hashed, stored and fetched by chunks of this size. */
export const CHUNK_BYTES = 1024 * 1024;
/** 1 TiB: 2^20 chunks, whose manifest takes 32 MiB. */
export const MAX_IMAGE_BYTES = 1024 ** 4;
/** What images leave free for the logs on the same disk: this much, or on a small disk one part of so many. */
export const MAX_DISK_RESERVE_BYTES = 256 * 1024 * 1024;
export const MIN_DISK_RESERVE_PARTS = 8;
/** Uploads in progress at a time; each holds one chunk in memory. */
export const MAX_IMPORTS = 8;
/** Chunks of one image being fetched at a time. */
export const MAX_CHUNK_FETCHES = 4;
/** Images and boot files being fetched at a time. */
export const MAX_FETCHES = 2;
/** How often each holder is asked for one chunk before the whole fetch is put off. */
export const TRIES_PER_HOLDER = 2;
/** Wait before something that failed is tried again; doubles with every failure, up to the second. */
export const RETRY_FIRST_MS = 500;
export const RETRY_LAST_MS = 30_000;
/** A boot file that the cluster knows no more stays on the disk for so long: changes come in a row, and the next may want it. */
export const BOOT_FILE_KEPT_MS = 60_000;
export const MAX_BOOT_FILE_BYTES = 16 * 1024 * 1024;
/** The image cache reads and keeps pages of this size: a boot reads far more around what it asks for first. */
export const CACHE_PAGE_BYTES = 64 * 1024;
/** Pages that one read may have copied out of the system's page cache at once, on the thread that serves; each takes some 20 us. */
export const MAX_PAGES_COPIED_NOW = 4;
export const MIN_CACHE_BYTES = 16 * 1024 * 1024;
/** One read of an image. */
export const MAX_READ_BYTES = 64 * 1024 * 1024;
/** Pause before files of removed image versions that could not be removed are tried again. */
export const REMOVAL_RETRY_MS = 60_000;
