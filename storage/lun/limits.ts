/** Data is kept, checksummed and replicated in blocks of this size. */
export const STORED_BLOCK_BYTES = 4096;
/** Logical blocks (512 bytes) in one stored block. */
export const LOGICAL_PER_STORED = 8;
/** A longer write becomes several records; a record is the smallest thing one message can carry. */
export const MAX_BLOCKS_PER_RECORD = 256;
/** Writes that come together and follow each other on the disk become one record of no more than this. */
export const MAX_JOINED_BLOCKS = 64;
/** Entries in one leaf of an index: many, so that what each leaf costs beside them counts little. */
export const MAX_LEAF_ENTRIES = 1024;
/** Neighbouring leaves that have no more than this together become one. */
export const MERGE_BELOW_ENTRIES = 640;
/** Blocks fetched from the log by one read at most. */
export const MAX_READ_RUN_BLOCKS = 256;
/** Blocks of a range that is in the log, whole or in part, and read on the thread that serves; each takes a few microseconds. */
export const MAX_BLOCKS_READ_NOW = 64;
/** Longest image name a record may carry, in bytes. */
export const MAX_IMAGE_NAME_BYTES = 255;
/** One record in so many has its position remembered, to turn a position back into a record number. */
export const POSITION_SAMPLE_RECORDS = 256;
/** So many bytes of log are enough for a position to be remembered, however few the records. */
export const POSITION_SAMPLE_BYTES = 1024 * 1024;
/** Blocks given up by one record at most (64 MiB): what is in flight is remembered block by block. */
export const MAX_DISCARD_BLOCKS = 16_384;
/** Blocks looked through for one answer about what takes space. */
export const MAX_ALLOCATION_BLOCKS = 1_048_576;
/** Entries of an index that are written to its checkpoint, or read from it, at a time. */
export const CHECKPOINT_CHUNK_BYTES = 1024 * 1024;
/** What describes a checkpoint before its entries: LUNs, counts of leaves, runs of blocks given up. */
export const MAX_CHECKPOINT_HEADER_BYTES = 256 * 1024 * 1024;
/** Places of records that have taken effect, kept at the front of the list of those in flight. */
export const MAX_SETTLED_RECORDS = 1024;
/** Records on their way into the log are cut from pieces of memory of this size; the longest one fits. */
export const RECORD_SLAB_BYTES = 1_310_720;
/** Such pieces that wait to be used again, for one portal group, beside the one in use. */
export const MAX_FREE_SLABS = 6;
