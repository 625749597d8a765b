/** Bounds of a whole node; those of its parts are in their folders. */

/** A node that is told to stop takes this long at most to have others take over. */
export const HAND_OVER_TIMEOUT_MS = 2_000;
/** How often what was written to a copy tells it from what it was before. */
export const LIFE_RENEWAL_MS = 30_000;
/** What a stop waits for it. */
export const LAST_RENEWAL_MS = 1_000;
/**
 * A service manager that stops a service signals each of its processes, and the one that supervises this one passes on its own: so
 * the same order may come twice.
 */
export const SAME_ORDER_MS = 1_000;
/**
 * A node that is told to stop ends as it is when it has not stopped by then. What is waited for in an orderly stop comes to
 * less, but for a disk that takes nothing.
 */
export const STOP_WITHIN_MS = 20_000;
/** A process that ends waits no longer for its threads, of which one may be in a call to a disk that never returns. */
export const EXIT_WITHIN_MS = 1_000;
