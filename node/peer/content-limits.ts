/** Bounds of fetching content from other nodes. */

/** At once from one node; more only makes its disk seek. */
export const CONTENT_CONNECTIONS_PER_NODE = 4;
/** Boots that one node asks another to make ready at once; more wait their turn. */
export const BOOT_CONNECTIONS_PER_NODE = 16;
/** Nothing arriving for this long ends a request. */
export const CONTENT_IDLE_TIMEOUT_MS = 10_000;
/** A whole request: the largest chunk over a slow link. */
export const CONTENT_REQUEST_TIMEOUT_MS = 120_000;
export const CONTENT_KEEP_ALIVE_MS = 5_000;
/** Lists a SHA-256 in hexadecimal per chunk; 2 TiB of 4 MiB chunks is about 35 MiB. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;
/** Disks that are over an image version: all that a cluster can have. */
export const MAX_IMAGE_USE_BYTES = 4 * 1024 * 1024;
/** Says something of each disk of a portal group. */
export const MAX_COPY_REPORT_BYTES = 4 * 1024 * 1024;
export const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
export const MAX_BOOT_FILE_BYTES = 64 * 1024 * 1024;
/** Making a disk ready replicates one record; the machine's firmware is waiting and will ask again. */
export const BEGIN_BOOT_TIMEOUT_MS = 5_000;
export const MAX_DOCUMENT_BYTES = 64 * 1024;
