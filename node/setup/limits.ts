/** Bounds on what one cluster may be given at its start. */

/** A Raft majority of more nodes costs more than it protects. */
export const MAX_NODES = 9;
export const MAX_PORTAL_GROUPS = 64;
export const MAX_DNS_SERVERS = 4;
export const MIN_LEASE_SECONDS = 60;
export const MAX_LEASE_SECONDS = 31_536_000;
export const DEFAULT_LEASE_SECONDS = 3600;
