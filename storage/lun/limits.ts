/** Data is kept, checksummed and replicated in blocks of this size. */
export const STORED_BLOCK_BYTES = 4096;
/** Logical blocks (512 bytes) in one stored block. */
export const LOGICAL_PER_STORED = 8;
/** A longer write becomes several records; a record is the smallest thing one message can carry. */
export const MAX_BLOCKS_PER_RECORD = 256;
/** Blocks covered by one page of an index: small, so that scattered writes cost little. */
export const INDEX_PAGE_BLOCKS = 128;
/** Blocks fetched from the log by one read at most. */
export const MAX_READ_RUN_BLOCKS = 256;
/** Longest image name a record may carry, in bytes. */
export const MAX_IMAGE_NAME_BYTES = 255;
/** One record in so many has its position remembered, to turn a position back into a record number. */
export const POSITION_SAMPLE_RECORDS = 256;
