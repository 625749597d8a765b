/** Bounds on what one cluster may be given at its start. */

/** A Raft majority of more nodes costs more than it protects. */
export const MAX_NODES = 9;
export const MAX_PORTAL_GROUPS = 64;
/** A join token names a few addresses and a secret. */
export const MAX_JOIN_TOKEN_LENGTH = 4096;
/** One request of a node that joins, from dialling to the whole answer. */
export const JOIN_REQUEST_TIMEOUT_MS = 15_000;
/**
 * How often the nodes are asked where they answer that there is no leader, and the pause in between: an election is over in a second
 * or two, and one goes with each node that has just joined.
 */
export const JOIN_ROUNDS = 5;
export const JOIN_ROUND_PAUSE_MS = 1_000;
export const MAX_JOIN_ANSWER_BYTES = 16 * 1024 * 1024;
export const MAX_DNS_SERVERS = 4;
export const MIN_LEASE_SECONDS = 60;
export const MAX_LEASE_SECONDS = 31_536_000;
export const DEFAULT_LEASE_SECONDS = 3600;
