/** Bounds of the API server. */

/** Connections of administrators and nodes together. */
export const MAX_CONNECTIONS = 512;
/** Images received at once; each keeps a disk busy. */
export const MAX_IMPORTS = 4;
/** A connection on which nothing moves for this long is closed. */
export const IDLE_TIMEOUT_MS = 60_000;
/** The same while an image is received: storing and replicating its end may take a while. */
export const IMPORT_IDLE_TIMEOUT_MS = 600_000;
/** Until all headers of a request have arrived. */
export const HEADERS_TIMEOUT_MS = 15_000;
export const KEEP_ALIVE_TIMEOUT_MS = 30_000;
export const MAX_HEADER_BYTES = 16 * 1024;
export const MAX_PATH_PARAMETER_LENGTH = 128;
/** A token longer than this is not looked at. */
export const MAX_TOKEN_LENGTH = 256;
/** How long a request waits until a copy of a portal group has been looked through, and how often it asks. */
export const COPY_WAIT_MS = 15_000;
export const COPY_POLL_MS = 200;
/** What is kept of who did something and what he was told; a field of a command takes a little more. */
export const MAX_BY_LENGTH = 800;
/** Of a portal, where no other one says otherwise (RFC 7143 §13). */
export const DEFAULT_ISCSI_PORT = 3260;
