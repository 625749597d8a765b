/** How often a group looks at its timeouts. */
export const TICK_MS = 50;
/** An idle link hears from the primary this often; each answer renews the lease. */
export const HEARTBEAT_MS = 100;
/**
 * A member in sync that is silent for this long is put out of the set, and so is one that has owed an
 * acknowledgement for this long and made no progress all the while.
 */
export const SLOW_MS = 700;
/** The same for data that was to be made durable: disks may take that long to flush. */
export const SLOW_SYNC_MS = 1_000;
/**
 * Whatever its progress, a member may owe nothing for longer: writes wait for it. Over a link that is fully
 * used, MAX_IN_FLIGHT_BYTES take a second or so; they take this long at a pace of 13 MB/s.
 */
export const ARREARS_MAX_MS = 5_000;
/**
 * A member in sync is slow while it takes this long to acknowledge what others have acknowledged in much less: at a pace of
 * 20 MB/s what may be in the log of a group and not yet committed (PIPELINE_BYTES) takes so long.
 */
export const PACE_SLOW_MS = 200;
/** The same for data that is to be made durable: disks may take that long to flush. */
export const PACE_SLOW_SYNC_MS = 400;
/** Much less: one part in so many. Times shorter than a tick are not told apart, so those others take 50 ms at most. */
export const PACE_FACTOR = 4;
/** A member that has been slow for so much longer than not, of the time in which it was waited for, is put out of the set. */
export const PACE_SLOW_FOR_MS = 3_000;
/** No more than this is held against it, so that one that is prompt again ceases to count as slow before long. */
export const PACE_SLOW_MOST_MS = 4_500;
/** What is known of a member's pace is forgotten when nothing has been asked of it for this long. */
export const PACE_MEMORY_MS = 10_000;
/** Members in sync, the primary among them, that no member is put out for being slow to leave fewer of. */
export const PACE_MIN_IN_SYNC = 2;
/** One put out for being slow may come back after this long; each time that it is put out again, after twice as long. */
export const PACE_RETURN_MIN_MS = 10_000;
export const PACE_RETURN_MAX_MS = 600_000;
/** One that has been in the set for this long was never slow. */
export const PACE_FORGIVEN_MS = 600_000;
/**
 * A primary whose own disk has taken nothing of what it was given to write or to make durable for this long hands its group over,
 * where the others have done in that time what was asked of them. Only time in which the process ran counts. Longer than others
 * are given (SLOW_SYNC_MS): it costs clients a takeover. Well within what initiators wait for a command.
 */
export const OWN_DISK_STALL_MS = 3_000;
/**
 * The same of the file that a primary writes before it says anything in a new epoch: while that lasts it hears of no other
 * member, so that nobody can be compared with it.
 */
export const OWN_EPOCH_STALL_MS = 5_000;
/** For half of that time others are not asked to show that their disks are well. */
export const OWN_DISK_PROBE_MS = OWN_DISK_STALL_MS / 2;
/** Between two tries to hand a group over, and from when the others were not well. */
export const HAND_OVER_RETRY_MS = 1_000;
/** A new primary gives the others this long more, to record the epoch and mend their logs. */
export const PROMOTION_GRACE_MS = 700;
/** A tick that comes so late tells of a pause of this process, not of silence of the others. */
export const OWN_PAUSE_MS = 200;
/** For more of them in a row nobody is waited for: a process that is always late would never find anybody silent. */
export const MAX_OWN_PAUSES = 10;
/** The same where the link is known to be down. */
export const LINK_GRACE_MS = 50;
/** How far two monotonic clocks may drift apart, each way. */
export const CLOCK_DRIFT = 0.001;
/** Added to every grant. */
export const LEASE_MARGIN_MS = 50;
/** Grant assumed after a restart where none is on record. */
export const DEFAULT_LEASE_MS = 800;
/**
 * A member in sync whose answers come, but so late that the lease has not held for this long, is put out of the set: nothing
 * can be served on the strength of it. Less than LEASE_WAIT_MS, so that nobody need be refused.
 */
export const LEASE_LAPSED_MS = 500;
/**
 * A lapsed lease may come back for this long. Until then reads and acknowledgements wait for it, and sessions are kept; then
 * the ones are refused and the others ended, together (docs/adr/0029). Longer than a takeover takes from the lapse on, so that
 * initiators are not sent to where nobody is; short of what any of them takes for a failure.
 */
export const LEASE_WAIT_MS = 1_500;
/** Of the time between two looks at a lapse, no more counts: the rest was a pause of this process. */
export const LAPSE_LOOK_MAX_MS = 2 * TICK_MS;
/**
 * With fewer members in sync than minInSync a write waits this long for more, as after the restart of a node, before it
 * is refused. What is in the log by then is waited for.
 */
export const TOO_FEW_WAIT_MS = 5_000;
/** Between two tries to have the in-sync set changed. */
export const PROPOSAL_RETRY_MS = 100;
/** A change that was accepted should show in the state by then; else it is proposed again. */
export const PROPOSAL_VISIBLE_MS = 1_000;
/** A proposal that is not answered by then counts as one whose outcome is unknown. */
export const PROPOSAL_TIMEOUT_MS = 5_000;
/** A joining member has this long to catch up with the rest before writes stop waiting for it. */
export const JOIN_MS = 300;
/** Pause after a failed attempt to join. */
export const JOIN_RETRY_MS = 1_000;
/** A member at most so many records behind may join. */
export const JOIN_DISTANCE_RECORDS = 1_024;
/** Sent to one member and not yet acknowledged, at most. */
export const WINDOW_BYTES = 8 * 1024 * 1024;
/** The same to one that is out of the set for being slow: what goes the same way does not wait behind much of that. */
export const SLOW_WINDOW_BYTES = 1024 * 1024;
/** Records in one message, at most (a single record may be larger). */
export const MAX_APPEND_BYTES = 1024 * 1024;
export const MAX_APPEND_RECORDS = 1_024;
/** A message read from the log goes out this full, rather than have the next part of the file read for the rest. */
export const FULL_ENOUGH_PART = 0.75;
/** A reading of the log for a member that is not gone on with for so long ends; it keeps segments from being let go of. */
export const READING_KEPT_MS = 2_000;
/** Newest records a primary keeps in memory to send from. */
export const TAIL_CACHE_BYTES = 16 * 1024 * 1024;
/**
 * Writes in the log of a group and not yet committed, but for those of LUNs with little in flight: what every later write
 * waits for. Enough to keep 1 GB/s busy over 4 ms; what is more waits with its sender.
 */
export const PIPELINE_BYTES = 4 * 1024 * 1024;
/**
 * So many writes of one turn of the loop go to the other members ahead of the rest, where these have nothing to do: so all
 * work at the same time, and not one after the other. Half of what an initiator with 32 writes has in flight. Writes are
 * counted, not bytes: of few large ones it is the bytes that take time, and every message more costs all of them some.
 */
export const AHEAD_WRITES = 16;
/** A LUN with no more than this in flight never waits for those of others. */
export const FAIR_FLOOR_BYTES = 256 * 1024;
/** LUNs that wait are let in by turns of so much. */
export const FAIR_TURN_BYTES = 64 * 1024;
/** All writes taken in and not yet committed. */
export const MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024;
/**
 * Effects that wait for one that touches stable storage, where a disk takes nothing: beyond this only the last of each kind is
 * kept (superseded.ts), and all that change the log, of which a primary sends no more than WINDOW_BYTES unanswered.
 */
export const MAX_WAITING_EFFECTS = 1_024;
/** Longest wait before what found the log full is tried again: beginning an epoch, cutting the log, emptying it. */
export const FULL_RETRY_MS = 1_000;
/** Pause before a meta file that found no space is written again. */
export const META_FULL_RETRY_MS = 250;
/** Changes of primary remembered; older ones lie before anything a log still holds. */
export const MAX_EPOCH_ENTRIES = 1_024;
/** How often a group looks whether the head of its log can go. */
export const TRIM_CHECK_MS = 10_000;
/**
 * The same while much is written: what is let go of in between is not more than may be kept to be written over
 * (MAX_SPARE_BYTES), at what a disk takes.
 */
export const TRIM_BUSY_CHECK_MS = 250;
/** Log growth that makes such a look worthwhile. */
export const TRIM_GROWTH_BYTES = 64 * 1024 * 1024;
/** Bytes of a member's list of LUNs that may be sent to another. */
export const MAX_SNAPSHOT_BYTES = 16 * 1024 * 1024;
/** How often a candidate looks again for base images it lacks. */
export const IMAGE_CHECK_MS = 1_000;
/** Random bytes of the id of a directory that holds a copy of a group. */
export const DISK_ID_BYTES = 16;
/** Random bytes of a life of such a directory. */
export const LIFE_BYTES = 8;
/** Lives of a directory that the cluster may know it by; more are begun only once one of them is known to be committed. */
export const MAX_DIRECTORY_LIVES = 16;
/**
 * The log may be as many times as long as what is in use of it (and COMPACT_SLACK_BYTES longer) before its head is
 * compacted. So what clients write is written 1 + 1 / (COMPACT_RATIO - 1) times at most.
 */
export const COMPACT_RATIO = 2;
/** The same while the disk is low and clients are refused space. */
export const COMPACT_RATIO_LOW = 1.25;
export const COMPACT_SLACK_BYTES = 256 * 1024 * 1024;
/** Being carried at a time on a node, by all of its groups: little beside what clients may have in flight. */
export const COMPACT_IN_FLIGHT_BYTES = 2 * 1024 * 1024;
/** Pause after a pass that failed. */
export const COMPACT_RETRY_MS = 1_000;
/** Kept free of clients' writes for compaction: this much, or on a small disk one part of so many. */
export const MAX_LOG_RESERVE_BYTES = 192 * 1024 * 1024;
export const LOG_RESERVE_PARTS = 16;
/** How often the file system is asked for the room it has. */
export const DISK_SPACE_CHECK_MS = 500;
/** A head that was compacted and cannot be let go of for so long is gone through again. */
export const COMPACT_RESCAN_MS = 30_000;
/** Initiators are told that the disk fills up when clients' writes have less than this part of it left, or so much. */
export const FILLING_PARTS = 20;
export const MAX_FILLING_BYTES = 4 * 1024 ** 3;
/** How much more must be left before it is so no longer. */
export const FILLING_OVER_FACTOR = 1.25;
/** Damaged copies of one group that are kept for an administrator to look at. */
export const MAX_SET_ASIDE = 2;
/** Sent by a node to all members that catch up, and taken in by one: never less than this, however busy clients are. */
export const CATCH_UP_MIN_BYTES_PER_SECOND = 16 * 1024 * 1024;
/** The same at most. */
export const CATCH_UP_MAX_BYTES_PER_SECOND = 2 * 1024 * 1024 * 1024;
/**
 * A member that nobody waits for makes durable what it has been sent each time that it is so much, not with every message:
 * no more is left for when it joins, and its disk is busy all the while.
 */
export const CATCH_UP_SYNC_BYTES = 16 * 1024 * 1024;
/** What was not sent is made up for later only as far as this. */
export const CATCH_UP_BURST_MS = 100;
/** Whether those that catch up are getting nearer is looked at this often. */
export const CATCH_UP_GAP_CHECK_MS = 2_000;
/** The speed that is shown is taken over this long. */
export const CATCH_UP_METER_MS = 1_000;
/** The log is kept for a member that was catching up and is out of reach for this long, so that it can go on. */
export const CATCH_UP_HOLD_MS = 60_000;
/** Log growth that makes a checkpoint of the index worthwhile. */
export const CHECKPOINT_GROWTH_BYTES = 128 * 1024 * 1024;
/** The log must have grown by so many times the last checkpoint's size: what is written for them is 1 part in so many. */
export const CHECKPOINT_LOG_RATIO = 8;
/** A checkpoint is written no faster than this, beside what clients write. */
export const CHECKPOINT_BYTES_PER_SECOND = 64 * 1024 * 1024;
/** Pause after a checkpoint that could not be written. */
export const CHECKPOINT_RETRY_MS = 30_000;
/** What the primary's node may have the others told. */
export const MAX_NOTICE_BYTES = 64 * 1024;
/**
 * How often it is repeated. A node that has just come back does not take it before it knows who is primary, and may be the
 * next one a moment later.
 */
export const NOTICE_REPEAT_MS = 250;
/** Another member that is asked for a record has this long to give it. */
export const RECORD_ANSWER_MS = 1_500;
/** All are asked so often, with a pause between, before a client is told that the data is lost. */
export const RECORD_ROUNDS = 3;
export const RECORD_ROUND_MS = 500;
/** Pause before members are asked again for records that none could give. */
export const MEND_RETRY_MS = 5_000;
/** Records that lie side by side in one damaged place and are mended together; beyond it the copy is. */
export const MAX_MENDED_RECORDS = 1_024;
/** Damaged places in one log that are known at a time; the next look finds the others. */
export const MAX_DAMAGED_SPANS = 1_024;
/** Damaged blocks remembered as ones of which there is no other copy. */
export const MAX_LOST_BLOCKS = 65_536;
/** A committed record that cannot be read back is tried again so often, and given up after so long. */
export const APPLY_RETRY_MS = 500;
export const APPLY_PATIENCE_MS = 15_000;
