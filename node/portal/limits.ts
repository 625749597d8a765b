/** Bounds of the data-plane worker and its guardian. */

/** How long a guardian keeps an address without hearing from its node. Longer than a pause for garbage collection, shorter than the lease and its margin together. */
export const GUARDIAN_TTL_MS = 800;
export const GUARDIAN_RENEW_EVERY_MS = 150;
/** How long the guardian may take to carry out one order. */
export const GUARDIAN_ANSWER_TIMEOUT_MS = 8_000;
/** An address that could not be taken off the interface is tried again after this. */
export const REMOVE_RETRY_MS = 500;
/** The same for the first order, for which the process must start; on a busy host that takes seconds. */
export const GUARDIAN_START_TIMEOUT_MS = 20_000;
/** Once its pipe has ended a guardian looks this often, and for as long as this, whether the node's process has. */
export const END_POLL_MS = 1;
export const END_WAIT_MS = 10_000;
/** A last word goes out at these moments, since any one datagram may be lost. */
export const LAST_WORD_AT_MS: readonly number[] = [0, 3, 10, 30, 100];
/** Connections that a guardian holds open beside its node; any beyond end with the node's process. */
export const MAX_KEPT_SOCKETS = 4_096;
/**
 * A node that takes over makes the initiators of a dead one come to it. Where none has after this, they are told that
 * their connections have ended. Longer than a lease that has to be waited out usually lasts.
 */
export const TAKEOVER_WAIT_MS = 2_000;
/**
 * A group that has moved is soon served elsewhere. Until then, and for no longer than this, its sessions are kept, unanswered;
 * a reset would cost their initiators seconds. How long a lease is waited for that has lapsed and may come back is
 * LEASE_WAIT_MS, for sessions as for commands.
 */
export const MOVED_GRACE_MS = 1_500;
/**
 * Where a worker's short-lived objects live. Those of the requests in flight fit, so that few of them are moved
 * before they die.
 */
export const YOUNG_GENERATION_MIB = 32;
/** The old generation is not collected before it has reached this. */
export const OLD_GENERATION_INITIAL_MIB = 128;
/** Memory of all workers of a node for blocks of images, unless the node's settings say otherwise (portal.imageCacheMib). */
export const IMAGE_CACHE_MIB = 256;
/** A worker has so much for what initiators have under way at least, however many share PortalLimits.memoryBytes. */
export const MIN_WORKER_SESSION_MEMORY_BYTES = 32 * 1_048_576;
/** The same of memory for blocks of images. */
export const MIN_WORKER_CACHE_BYTES = 16 * 1_048_576;
/** How many workers a node has that is to have as many as its processors allow. */
export const MAX_CHOSEN_WORKERS = 8;
/** The worker shows that it is alive this often; silent for longer than the second, it is taken for hung. */
export const WORKER_BEAT_MS = 250;
export const WORKER_HUNG_MS = 5_000;
/** A portal address that cannot be bound yet (the old owner is just letting go) is tried again after this. */
export const BIND_RETRY_MS = 25;
/** Gratuitous ARP goes out at these moments after a takeover, since any one of them may be lost. */
export const ANNOUNCE_AT_MS: readonly number[] = [0, 100, 300, 1_000, 3_000];
/** Requests from the main thread under way in the worker at once. */
export const MAX_WORKER_REQUESTS = 256;
export const WORKER_REQUEST_TIMEOUT_MS = 10_000;
/** Initiators at one portal group that its other members are told of. */
export const MAX_NOTICE_ENDPOINTS = 4_096;
/** What sessions have in their logs when a node stops may take this long; what is not through by then fails. */
export const STOP_SESSIONS_MS = 1_000;
/** A worker that has not stopped by then is ended as it is. */
export const WORKER_STOP_TIMEOUT_MS = 6_000;
/** A node that stops looks this often whether its groups have been taken over. */
export const HANDOVER_CHECK_MS = 10;
/** A read of a damaged image waits so long for the chunk to be fetched from another node. */
export const IMAGE_MENDING_WAIT_MS = 8_000;
/** Commands passed on to other nodes, or carried out for them, at once. */
export const MAX_REMOTE_COMMANDS = 256;
/** How long the other node may take; what became of the command is then unknown, and its session is dropped. */
export const REMOTE_COMMAND_TIMEOUT_MS = 5_000;
/** A parameter list of 16 bits of length, as hexadecimal, and the rest. */
export const MAX_REMOTE_COMMAND_BYTES = 262_144;
