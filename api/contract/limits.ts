/** Bounds of the API that both its ends know. */

/** Rises with every change of what a backup's text means. */
export const BACKUP_FORMAT_VERSION = 1;
/** Where all routes of the API begin. */
export const API_PREFIX = '/api/v1';
/** A JSON body. */
export const MAX_JSON_BODY_BYTES = 64 * 1024;
/** As the cluster accepts them: an image is addressed by firmware in 512-byte sectors, up to 2 TiB. */
export const SECTOR_BYTES = 512;
export const MAX_IMAGE_BYTES = 2 * 1024 ** 4;
/** A network boot program; the largest builds of iPXE are a few MiB. */
export const MAX_BOOT_FILE_BYTES = 64 * 1024 * 1024;
export const MAX_MACS_PER_CLIENT = 16;

/** Addresses and subnets one client's initiator may come from. */
export const MAX_SOURCES_PER_CLIENT = 16;
