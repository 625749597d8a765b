/** Bounds of the command line's patience. */

/** Until a node has accepted the connection and shown its certificate. */
export const CONNECT_TIMEOUT_MS = 4_000;
/** Nothing sent or received for this long, once connected. */
export const ANSWER_TIMEOUT_MS = 30_000;
/** The same after the last byte of an image: the node stores it and tells the cluster. */
export const IMPORT_ANSWER_TIMEOUT_MS = 600_000;
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Read from a file at once when uploading. */
export const READ_BYTES = 1024 * 1024;
export const PROGRESS_INTERVAL_MS = 250;
export const DISTRIBUTION_POLL_MS = 500;
/** No further node holding the image for this long ends the wait for it. */
export const DISTRIBUTION_STALL_MS = 600_000;
/** While waiting, nodes may be out of reach for this long, as during a failover. */
export const DISTRIBUTION_UNREACHABLE_MS = 30_000;
/** How often a node being drained is looked at. */
export const DRAIN_POLL_MS = 500;
/** Nothing being moved for this long ends the wait for it; a large disk takes as long as it takes. */
export const DRAIN_STALL_MS = 900_000;
/** While waiting, nodes may be out of reach for this long, as during a failover. */
export const DRAIN_UNREACHABLE_MS = 30_000;
/** Before it is asked again whether a copy of a portal group has been looked through. */
export const COPY_AGAIN_MS = 1_000;
