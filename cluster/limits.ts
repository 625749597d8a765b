/** Every bound of the cluster log and of what runs on it. */

// Raft's clock.
export const TICK_MS = 50;
export const HEARTBEAT_TICKS = 1;
/** A follower that hears nothing for this many ticks, up to twice as many at random, asks for votes. */
export const ELECTION_TICKS = 7;
/** A leader whose own host says that its process is gone is given up after this much silence, two heartbeats. */
export const FORGET_ABSENT_LEADER_MS = 100;
/** The first to campaign once a leader has surely ended leaves the others so much to hear of it as well. */
export const ENDED_CAMPAIGN_MS = 5;
/** The members campaign to follow such a leader one after another, by this much. */
export const CAMPAIGN_TURN_MS = 100;
/** More time than this between two ticks was spent by this process standing still, not by its peers. */
export const MAX_OBSERVED_TICK_MS = 2 * TICK_MS;

// Messages.
export const MAX_ENTRIES_PER_MESSAGE_BYTES = 512 * 1024;
export const MAX_COMMITTED_PER_READY_BYTES = 1024 * 1024;
export const MAX_UNCOMMITTED_BYTES = 16 * 1024 * 1024;
/** How late a follower may hear that entries of others are committed; far below a heartbeat. */
export const COMMIT_NEWS_DELAY_MS = 5;
export const MAX_INFLIGHT_MESSAGES = 256;
export const MAX_INFLIGHT_BYTES = 8 * 1024 * 1024;

// Snapshots, for a peer that has fallen behind.
export const MAX_SNAPSHOT_BYTES = 256 * 1024 * 1024;
/** Sent at a time; a heartbeat never waits behind more. */
export const SNAPSHOT_CHUNK_BYTES = 256 * 1024;
/** An offer is repeated when nothing has been sent for this long. */
export const SNAPSHOT_REPEAT_MS = 500;
/** A peer that has said nothing about its snapshot for this long is offered another one. */
export const SNAPSHOT_GIVE_UP_MS = 15_000;
/** Content that is not what was offered is fetched this often before it is refused. */
export const MAX_SNAPSHOT_ATTEMPTS = 3;
/** Parts of snapshots that never became whole may take this much of the disk; further ones are kept in memory. */
export const MAX_ABANDONED_PART_BYTES = 2 * MAX_SNAPSHOT_BYTES;

// A node that has lost data.
/** The others are asked again after this. */
export const REFETCH_RETRY_MS = 500;
/** A snapshot that waits for the word of other voters is fetched anew when they have been asked so often: five seconds. */
export const RENEW_AFTER_ASKING = 10;
/** The same when that has not helped several times: a minute. */
export const RENEW_AFTER_ASKING_MAX = 120;

// Proposals and reads.
export const MAX_COMMAND_BYTES = 1024 * 1024;
/** Changes that wait for their outcome on one node, and what they hold together; further ones are refused. */
export const MAX_PENDING_PROPOSALS = 4096;
export const MAX_PENDING_PROPOSAL_BYTES = 32 * 1024 * 1024;
/** After this the outcome of a proposal is reported as unknown. */
export const PROPOSAL_TIMEOUT_MS = 5000;
export const MAX_WAITING_READS = 4096;
export const READ_TIMEOUT_MS = 5000;
/** An unanswered read is asked for again, since questions are lost along with leaders. */
export const READ_RETRY_MS = 200;

// The log on disk.
export const MAX_RECORD_PAYLOAD_BYTES = 1024 * 1024;
/** Writes waiting for the disk; far more than the bounds above let come about. */
export const MAX_WAITING_WRITES = 65_536;
/** A log longer than this, or holding more data, is compacted. */
export const MAX_LOG_ENTRIES = 8192;
export const MAX_LOG_BYTES = 32 * 1024 * 1024;
/**
 * While a snapshot is being sent the log is kept from there on, but never beyond this many times its bounds: then
 * the peer needs another snapshot.
 */
export const MAX_LOG_OVERRUN = 4;
/** Entries kept all the same, so that a peer that is only a little behind needs no snapshot. */
export const LOG_TAIL_ENTRIES = 1024;
/** A full file system may be given room again. */
export const DISK_FULL_RETRY_MS = 500;
/** Writes over which the latency of the disk is summed up. */
export const DISK_LATENCY_SAMPLES = 512;
/**
 * A leader whose own disk takes longer than this, the longest election timeout, hands leadership on. By then
 * the others would have elected one, had they not heard from it.
 */
export const DISK_STALL_MS = 2 * ELECTION_TICKS * TICK_MS;
/** It resigns when it still leads after this: a transfer that takes an election timeout has failed. */
export const DISK_RESIGN_MS = DISK_STALL_MS + ELECTION_TICKS * TICK_MS;
/** A leader that stops waits so long for another one, looking as often as this. */
export const HAND_ON_MS = 500;
export const HAND_ON_CHECK_MS = 10;

// The applied state on disk.
/** Changes applied within this time share one write; the log keeps what a crash takes of them. */
export const APPLIED_WRITE_DELAY_MS = 100;
/** Where there was no space for them, they are written again after this; until then the log keeps them. */
export const APPLIED_SPACE_RETRY_MS = 1000;

// Membership.
/** A newcomer this close to the end of the log may vote. */
export const LEARNER_LAG_ENTRIES = 64;
/** A step of Raft's membership that has not come about is taken again after this. */
export const MEMBERSHIP_RETRY_MS = 500;
/** A recovered log goes on this far beyond its end, where no other node can have anything. */
export const RECOVERY_INDEX_STEP = 1_000_000;
/** Between two steps of the placement of portal groups. */
export const PLACEMENT_INTERVAL_MS = 250;
/** Between two steps for the sake of balance: the group that moved last serves again by then. */
export const BALANCE_PAUSE_MS = 3_000;
/** A leader that looked after placement longer ago than this has not led meanwhile, and knows of no calm. */
export const PLACEMENT_GAP_MS = 2_000;
export const REGISTER_RETRY_MS = 100;
/** A fencing that has not come about is proposed again after this. */
export const FENCE_RETRY_MS = 1000;
/** A node whose own host says that its process is gone is fenced after this much silence already. */
export const ABSENT_FENCE_AFTER_MS = 300;
/** A node is taken to be starting for this long after it has registered, */
export const STARTING_MS = 10_000;
/** or until it has been heard for this long */
export const STARTED_AFTER_STEADY_MS = 1_000;
/** without having been silent for this long, six heartbeats. */
export const STEADY_GAP_MS = 300;
/** One that is starting is fenced after this much silence only: on a busy host it may stand still for seconds. */
export const STARTING_FENCE_AFTER_MS = 5_000;
/** A node that nothing would go on without is fenced after this much silence only. */
export const IDLE_FENCE_AFTER_MS = 5_000;
/** What a node that has never started is given to do so, after which the cluster goes on without it. */
export const FIRST_START_GRACE_MS = 15_000;
