/** Bounds of the TFTP server. */

/** A request is a name, a mode and a few options; RFC 2347 §3 allows 512 bytes. */
export const REQUEST_BYTES_MAX = 512;

/** Block sizes of RFC 2348 §2. */
export const BLKSIZE_MIN = 8;
export const BLKSIZE_MAX = 65_464;
/** Largest one granted: an Ethernet frame of 1500 bytes less IP, UDP and TFTP headers, never fragmented. */
export const BLKSIZE_GRANTED_MAX = 1_468;
/** Without the option (RFC 1350 §2). */
export const BLKSIZE_DEFAULT = 512;

/** Largest window granted (RFC 7440); beyond it a burst overruns the buffers of small switches and cards. */
export const WINDOWSIZE_GRANTED_MAX = 16;

/** First wait for an answer; doubled with each repetition, unless the client has set its own. */
export const RETRANSMIT_FIRST_MS = 1_000;
export const RETRANSMIT_LONGEST_MS = 8_000;
/** Repetitions without progress before a transfer is given up. */
export const RETRANSMISSIONS_MAX = 6;

/** Transfers at a time; further requests are dropped, and clients ask again. */
export const TRANSFERS_MAX = 512;
export const TRANSFERS_PER_ADDRESS_MAX = 16;

export const FILE_NAME_CHARACTERS_MAX = 128;

/** What the kernel may queue of requests: a chassis that is powered on sends hundreds at once. */
export const RECEIVE_BUFFER_BYTES = 1 << 20;
