/** Bounds on what the replicated configuration may hold. */

/** Network cards of one client. */
export const MAX_MACS_PER_CLIENT = 16;
/** RFC 7143 §4.2.7.1: an iSCSI name has at most 223 bytes. */
export const MAX_ISCSI_NAME_BYTES = 223;
export const MAX_CLIENTS = 20_000;
export const MAX_IMAGES = 1_000;
export const MAX_VERSIONS_PER_IMAGE = 1_000;
export const MAX_BOOT_FILES = 1_000;
export const MAX_NODES = 9;
export const MAX_PORTAL_GROUPS = 256;
/** An image may be no larger than READ CAPACITY (10) and common firmware can address: 2 TiB. */
export const MAX_IMAGE_BYTES = 2 * 1024 ** 4;
export const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
/** Free text inside a command, as the reason of a fencing. */
export const MAX_TEXT_LENGTH = 1_000;
