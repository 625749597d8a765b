/** Every bound of the links between nodes. */

/** Largest message. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
/** Messages waiting for one peer; one message of any allowed size may always wait alone. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** What a connection may send before it has said who it is. */
export const MAX_HELLO_BYTES = 2048;
/** Connections accepted at a time, whether they have said who they are or not. */
export const MAX_INBOUND_CONNECTIONS = 512;

/** From the dial until the other side's hello, name resolution and TLS included. */
export const HANDSHAKE_TIMEOUT_MS = 3000;
/** A refused connection is given this long to read why. */
export const REFUSAL_LINGER_MS = 200;
export const PING_INTERVAL_MS = 500;
/** A link over which nothing has moved for this long is taken for dead. */
export const LINK_DEAD_AFTER_MS = 3000;

/**
 * A node heard this recently is running, so another process with its id is not let in. Longer than a few pings,
 * and shorter than any host takes to start again after losing its power.
 */
export const HEARD_JUST_NOW_MS = 1500;

export const RECONNECT_MIN_MS = 20;
export const RECONNECT_MAX_MS = 500;

/** Messages of one step are put together in pieces of this size: the longest that replication makes, and some more. */
export const STAGE_BYTES = 1_179_648;
/** A message of this size leaves at once, with what is staged, unless others are on their way. */
export const AT_ONCE_BYTES = 65_536;
/** Such pieces that wait to be used again, for one link. */
export const MAX_FREE_STAGES = 8;
/** Distinct complaints remembered, so that each is logged once. */
export const MAX_REMEMBERED_COMPLAINTS = 128;

/** Last words remembered of processes that have not said hello yet; one a node is all there can be in earnest. */
export const MAX_EARLY_LAST_WORDS = 64;

/** How often the others are asked at most whom the cluster consists of. */
export const MEMBERS_ASKED_EVERY_MS = 1000;
export const MEMBERS_REQUEST_TIMEOUT_MS = 3000;

/**
 * Taken from a connection before the loop takes another turn, with which leaves what was answered: more than a turn
 * between two acknowledgements would have the sender run dry.
 */
export const RECEIVE_TURN_BYTES = 262_144;
/** Messages of many chunks are put together in pieces of memory of this size, where their handler gives it back. */
export const BODY_SLAB_BYTES = 2_097_152;
/** Such pieces that wait to be used again, for one link. */
export const MAX_FREE_BODY_SLABS = 6;
/** Messages up to this size that came whole have memory of their own. */
export const SHORT_BODY_BYTES = 1024;
/** The longest plaintext of a TLS record (RFC 8446 section 5.1), which is what a socket hands over at a time. */
export const TLS_RECORD_BYTES = 16_384;
