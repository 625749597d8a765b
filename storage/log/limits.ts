/** Every bound of the segmented log, in one place. */

/** A segment takes no further append once it would pass this size. */
export const DEFAULT_SEGMENT_SIZE_BYTES = 64 * 1024 * 1024;
/** One record's payload. */
export const MAX_RECORD_BYTES = 64 * 1024 * 1024;
/** One append call; it is never split, so a segment may pass its size by this much. */
export const MAX_APPEND_BYTES = 1024 * 1024 * 1024;
/** Waiting appends are joined into one write up to this size. */
export const MAX_WRITE_BYTES = 16 * 1024 * 1024;
/** Waiting calls; one more is a bug of the caller, who is to bound what it has in flight. */
export const MAX_WAITING_CALLS = 65_536;
/** Payloads shorter than this are copied beside their header; a longer one is written from where it is. */
export const COPY_BELOW_BYTES = 2048;
/** What the logs of one data-plane worker may keep of segments that they let go of, to write over them. */
export const MAX_SPARE_BYTES = 256 * 1024 * 1024;
/** One is kept that is no more than so many times shorter or longer than a segment usually is. */
export const SPARE_SIZE_RANGE = 2;
/** Of a former segment's file whole pieces of this size are written, as the system keeps it in memory. */
export const FORMER_PAGE_BYTES = 4096;
/** The system is told to write to the disk whenever so much has been appended: no more is left to be waited for at the end. */
export const WRITE_OUT_BYTES = 16 * 1024 * 1024;
/** How much a scan reads at a time. */
export const SCAN_CHUNK_BYTES = 1024 * 1024;
/** What the device fails to read is read again in pieces of this size. */
export const READ_AROUND_BYTES = 4096;
/** Segments kept open for reading. */
export const MAX_OPEN_SEGMENTS = 128;
/** Sealed segments whose table of record offsets is kept in memory. */
export const MAX_LOADED_OFFSET_TABLES = 256;
/** Bytes that the search for records behind a damaged one may put through CRC32C before it gives up. */
export const MAX_RESYNC_CHECKSUM_BYTES = 4 * 1024 * 1024 * 1024;
/** A write no larger than this may be carried out at once, on the calling thread: some 200 us; see WritePace. */
export const MAX_AT_ONCE_BYTES = 1024 * 1024;
/** A write that kept its thread for longer than this was held up, by the disk or for want of a processor. */
export const SLOW_AT_ONCE_WRITE_MS = 5;
/** When such writes have taken so much together, none is carried out at once. One that takes it all is enough. */
export const MAX_HELD_UP_MS = 250;
/** What is forgotten of that in each millisecond: the part of its time that a thread may be held up for ever. */
export const HELD_UP_LEAK = 0.4;
/** How long after that no other is carried out at once. */
export const AT_ONCE_PAUSE_MS = 5_000;
/** A sync that takes longer than this says that the disk is busy enough to hold up writes. */
export const SLOW_DATA_SYNC_MS = 50;
/** For how long after it no write is carried out at once, unless a quicker sync comes first. */
export const AFTER_SLOW_SYNC_MS = 1_000;
/** What a node keeps back to be able to start on a full disk: this much, or on a small disk one part of so many. */
export const MAX_BALLAST_BYTES = 32 * 1024 * 1024;
export const BALLAST_PARTS = 32;
/** It is made where one part of so many of the disk is free besides. */
export const BALLAST_ROOM_PARTS = 8;
/** Written at a time. */
export const BALLAST_PIECE_BYTES = 1024 * 1024;
/** How often a node looks whether it can make it again. */
export const BALLAST_CHECK_MS = 10_000;
