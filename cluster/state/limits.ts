/** Bounds on what the replicated configuration may hold. */

/** Network cards of one client. */
export const MAX_MACS_PER_CLIENT = 16;
/** RFC 7143 §4.2.7.1: an iSCSI name has at most 223 bytes. */
export const MAX_ISCSI_NAME_BYTES = 223;
/** Addresses and subnets one client's initiator may come from. */
export const MAX_SOURCES_PER_CLIENT = 16;
export const MAX_CLIENTS = 20_000;
export const MAX_IMAGES = 1_000;
export const MAX_VERSIONS_PER_IMAGE = 1_000;
export const MAX_BOOT_FILES = 1_000;
export const MAX_NODES = 9;
/** Of one node. */
export const MAX_DATA_PLANE_WORKERS = 32;
/** Nodes that a cluster has ever had; ids are never given again. */
export const MAX_REMOVED_NODES = 10_000;
/** Copies of a portal group, where there are as many nodes. */
export const DEFAULT_REPLICAS_PER_GROUP = 3;
/** A node's share of copies and primaries, where nothing else is said. */
export const DEFAULT_NODE_WEIGHT = 1;
export const MAX_NODE_WEIGHT = 1_000;
/**
 * Nothing is moved for the sake of balance before the cluster has been calm for so long. A node that comes back, as
 * after an upgrade, gets nothing back before.
 */
export const DEFAULT_REBALANCE_DELAY_MS = 30_000;
/** A node that is down for longer is not waited for any more: its copies are made anew on others, where there are any. */
export const DEFAULT_REPLACE_AFTER_MS = 15 * 60_000;
export const MAX_PLACEMENT_DELAY_MS = 7 * 24 * 3_600_000;
/**
 * The least and the most that a primary may be allowed to send each second to all members of a group that catch up; the most
 * is also what holds where nothing is said. With less than the least a copy of common size would take weeks.
 */
export const MIN_CATCH_UP_BYTES_PER_SECOND = 1024 * 1024;
export const MAX_CATCH_UP_BYTES_PER_SECOND = 2 * 1024 ** 3;
/** Copies that may be catching up before another one is begun. */
export const MAX_REPLICAS_IN_MOTION = 2;
/** Copies that are moved so that one copy too many on a node comes to one with room: two of them at most. */
export const MAX_STEPS_OF_A_COPY = 2;
/** Join tokens that have not expired. */
export const MAX_JOIN_TOKENS = 100;
/** A join token is good for no longer than this. */
export const MAX_JOIN_TOKEN_MS = 7 * 24 * 3_600_000;
/** A recovered group's epoch is beyond any that entries now lost can have given it. */
export const RECOVERY_EPOCH_STEP = 1000;
/** Copies of one portal group that a node tells of as put out of the way. */
export const MAX_RETIRED_COPIES = 4;
/** Lives that a directory of a portal group may be known by. */
export const MAX_DIRECTORY_LIVES = 16;
export const MAX_AUDIT_RECORDS = 500;
export const MAX_PORTAL_GROUPS = 256;
/** An image may be no larger than READ CAPACITY (10) and common firmware can address: 2 TiB. */
export const MAX_IMAGE_BYTES = 2 * 1024 ** 4;
export const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
/** Free text inside a command, as the reason of a fencing. */
export const MAX_TEXT_LENGTH = 1_000;
