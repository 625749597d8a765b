/** Bounds of what this folder asks of the system. */

/** Changing an address is one netlink call; an `ip` that takes longer for it is stuck. */
export const IP_COMMAND_TIMEOUT_MS = 5_000;

/** What `ip` may print before it is cut off. */
export const IP_COMMAND_OUTPUT_BYTES_MAX = 64 * 1024;
