/** Largest data segment accepted from an initiator once logged in (our MaxRecvDataSegmentLength). */
export const MAX_RECV_DATA_SEGMENT_BYTES = 262_144;
/** Largest data segment either side may send during login (RFC 7143 §13.12, the default). */
export const LOGIN_DATA_SEGMENT_BYTES = 8192;
/** Largest data segment sent, whatever the initiator says it would take. */
export const MAX_SEND_DATA_SEGMENT_BYTES = 1_048_576;
export const MAX_BURST_BYTES = 1_048_576;
export const FIRST_BURST_BYTES = 262_144;
/** Text of one negotiation, over all its PDUs. */
export const MAX_TEXT_BYTES = 65_536;
export const MAX_TEXT_KEYS = 128;
/** Login requests of one login, over all stages. */
export const MAX_LOGIN_REQUESTS = 32;
/** Commands one session may have outstanding, the width of its CmdSN window, where nothing else is said; and the widest. */
export const DEFAULT_QUEUE_DEPTH = 128;
export const MAX_QUEUE_DEPTH = 1024;
/** Immediate commands (NOP-Out, task management, text) outstanding beside the window. */
export const MAX_IMMEDIATE_TASKS = 64;
/** Data being read for, or on its way to, one initiator; above it no further request is taken from the socket. */
export const MAX_OUTBOUND_BYTES = 16 * 1_048_576;
/** Data solicited from one initiator by R2T and not yet written; one command may exceed it. */
export const MAX_SOLICITED_BYTES = 32 * 1_048_576;
/** Data of commands that came ahead of a gap in CmdSN, which no initiator on one connection leaves. */
export const MAX_DATA_AHEAD_BYTES = 1_048_576;
/** What one connection may always hold, however much the others do. */
export const MIN_SHARE_BYTES = 262_144;
/** What that may come to for all of them; with more than 256 each may always hold less. */
export const MAX_SHARES_TOGETHER_BYTES = 64 * 1_048_576;
/**
 * Connections that may go on taking PDUs while the portal's memory is used up, so that a half-received write can
 * be finished; the others wait.
 */
export const MAX_OVERDRAWN_CONNECTIONS = 4;
/** Answers waiting for the end of the turn are sent early beyond this. */
export const EARLY_FLUSH_BYTES = 1_048_576;
export const SOCKET_READ_BUFFER_BYTES = 1_048_576;
/** Taken from a socket by one read: so much stays in the processor's cache until it has been gone through. */
export const SHARED_READ_BYTES = 262_144;
/** Taken from a socket before the loop takes another turn. */
export const READ_TURN_BYTES = 262_144;
/** Pieces of answers no longer than this are copied together where they follow each other. */
export const MAX_JOINED_BYTES = 256;
/** Pieces of memory that data on its way lies in: from so much, doubled until so much, and larger ones as they come. */
export const SMALLEST_PIECE_BYTES = 4096;
export const LARGEST_PIECE_BYTES = 262_144;
/** Such pieces that wait to be used again, of all connections that share a budget. */
export const MAX_FREE_DATA_BYTES = 32 * 1_048_576;
/** Header buffers kept for reuse by one connection. */
export const MAX_POOLED_HEADERS = 1024;

/** How long the next request of an initiator that sends one at a time is looked for before the thread goes to sleep. */
export const POLL_MS = 0.2;
/** What comes sooner than this after an answer is sent on the same processor, or by one that wakes as fast: there is nothing to gain. */
export const POLL_MIN_GAP_MS = 0.02;
/** So many requests have to have come so soon after the answer to the one before. */
export const POLL_AFTER_REQUESTS = 16;
/** For so long it is not done where somebody else was given the processor meanwhile. */
export const POLL_REST_MS = 10;
/** After so many requests found it is asked whether more often than so the process was set aside; then it is not done for so long. */
export const POLL_CHECK_REQUESTS = 64;
export const MAX_POLL_SWITCHES = 32;
export const POLL_SHARED_REST_MS = 100;
/** Of the time that passes, what may be spent looking in vain, and how much of that can be saved up. */
export const POLL_VAIN_SHARE = 0.05;
export const MAX_POLL_CREDIT_MS = 2;

/** What the composition root may set for one portal. */
export interface PortalLimits {
  /** Commands one session may have outstanding: the width of its CmdSN window, at most MAX_QUEUE_DEPTH. */
  readonly queueDepth: number;
  readonly maxConnections: number;
  /** From connect to the end of login. */
  readonly loginTimeoutMs: number;
  /** Silence after which an initiator that answers NOP-In is asked for a sign of life. */
  readonly nopIdleMs: number;
  /** How long it then has to say anything at all: longer than a machine that is halted for a minute. */
  readonly nopTimeoutMs: number;
  /**
   * Silence after which an initiator that does not answer NOP-In (iPXE) is taken to be gone. One that is not
   * connects again by itself with its next command.
   */
  readonly staleIdleMs: number;
  /** How long an initiator may leave its answers unread, or data that it was asked for unsent. */
  readonly stallTimeoutMs: number;
  /** Data held for all initiators of all portals that share a budget: received, read, and on its way out. Above it sockets are not read. */
  readonly memoryBytes: number;
  /** How long a connection to a target that has moved is kept without an answer, at most. */
  readonly movedTimeoutMs: number;
  /** Silence after which TCP itself probes the peer; finds initiators that were replaced by an OS. */
  readonly tcpKeepAliveMs: number;
  /** How long a login waits for the writes of the session that it replaces. */
  readonly reinstatementTimeoutMs: number;
}

export const DEFAULT_PORTAL_LIMITS: PortalLimits = {
  queueDepth: DEFAULT_QUEUE_DEPTH,
  maxConnections: 4096,
  loginTimeoutMs: 15_000,
  nopIdleMs: 15_000,
  nopTimeoutMs: 60_000,
  staleIdleMs: 3_600_000,
  stallTimeoutMs: 60_000,
  memoryBytes: 96 * 1_048_576,
  movedTimeoutMs: 3_000,
  tcpKeepAliveMs: 10_000,
  reinstatementTimeoutMs: 10_000,
};
