/** Longest READ, WRITE or comparing VERIFY in logical blocks (32 MiB): whatever READ(10) can ask for. */
export const MAX_TRANSFER_BLOCKS = 65_536;
/** The transfer length initiators are advised to use, in logical blocks (VPD page B0h): 1 MiB. */
export const OPTIMAL_TRANSFER_BLOCKS = 2048;
/** How much a VERIFY without data reads from the device at a time, in logical blocks. */
export const VERIFY_STEP_BLOCKS = 2048;
/** Failures of the device that are written to the log, for one initiator on one logical unit; enough to tell why. */
export const MAX_LOGGED_FAILURES = 16;
/** Unit attentions kept for one initiator on one logical unit; a further one replaces the last. */
export const MAX_PENDING_ATTENTIONS = 4;
