/** Data is kept in stored blocks of 4 KiB: so many logical ones each, as a power of two and as a number. */
export const STORED_BLOCK_EXPONENT = 3;
export const STORED_BLOCK_LOGICAL_BLOCKS = 2 ** STORED_BLOCK_EXPONENT;
/** Longest READ, WRITE or VERIFY in logical blocks (32 MiB): whatever READ(10) can ask for. */
export const MAX_TRANSFER_BLOCKS = 65_536;
/** The transfer length initiators are advised to use, in logical blocks (VPD page B0h): 1 MiB. */
export const OPTIMAL_TRANSFER_BLOCKS = 2048;
/** How much a VERIFY without data reads from the device at a time, in logical blocks. */
export const VERIFY_STEP_BLOCKS = 2048;
/** Failures of the device that are written to the log, for one initiator on one logical unit; enough to tell why. */
export const MAX_LOGGED_FAILURES = 16;
/** Longest COMPARE AND WRITE in logical blocks; its CDB has no room for more. */
export const MAX_COMPARE_AND_WRITE_BLOCKS = 255;
/** Longest WRITE SAME in logical blocks (2 GiB). */
export const MAX_WRITE_SAME_BLOCKS = 4_194_304;
/** How much of a WRITE SAME, a copy or an overwrite is written at a time, in logical blocks. */
export const WRITE_STEP_BLOCKS = 2048;
/** Blocks one UNMAP may give up (512 MiB), and in how many ranges. */
export const MAX_UNMAP_BLOCKS = 1_048_576;
export const MAX_UNMAP_DESCRIPTORS = 256;
/** Ranges in one answer to GET LBA STATUS, and looks at the device for it. */
export const MAX_LBA_STATUS_DESCRIPTORS = 256;
export const MAX_LBA_STATUS_LOOKS = 4096;
/** What one PRE-FETCH reads at most, in logical blocks: 32 MiB. */
export const MAX_PREFETCH_BLOCKS = 65_536;
/** Longest parameter list of any command, in bytes. */
export const MAX_PARAMETER_LIST_BYTES = 65_536;
/** I_T nexuses registered with one logical unit for persistent reservations. */
export const MAX_REGISTRATIONS = 128;
/** What EXTENDED COPY takes: target descriptors, segment descriptors, results kept by one logical unit. */
export const MAX_COPY_TARGETS = 2;
export const MAX_COPY_SEGMENTS = 64;
export const MAX_COPY_RESULTS = 64;
/** Longest segment of a copy in logical blocks: what its 16 bits can say. */
export const MAX_COPY_SEGMENT_BLOCKS = 65_535;
/** One pass of an overwriting SANITIZE keeps to this pace, so that it leaves the device to others: 32 MiB a second. */
export const SANITIZE_BYTES_PER_SECOND = 32 * 1_048_576;
/** How long such a pass takes at least: initiators that poll are to find it under way, however small the unit. */
export const SANITIZE_PASS_MS = 15_000;
