/** The vocabulary of the Raft core; plain data throughout. Indexes and terms are safe integers. */

export const NO_NODE = 0;
/** Addresses of the two local threads that carry out storage writes (see ready()). */
export const LOCAL_APPEND_THREAD = Number.MAX_SAFE_INTEGER;
export const LOCAL_APPLY_THREAD = Number.MAX_SAFE_INTEGER - 1;

export type EntryType = 'normal' | 'confChange' | 'confChangeV2';

export interface Entry {
  readonly term: number;
  readonly index: number;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

export interface HardState {
  readonly term: number;
  /** NO_NODE: no vote in this term. */
  readonly vote: number;
  readonly commit: number;
}

export interface ConfState {
  readonly voters: readonly number[];
  readonly learners: readonly number[];
  readonly votersOutgoing: readonly number[];
  readonly learnersNext: readonly number[];
  readonly autoLeave: boolean;
}

export interface SnapshotMetadata {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

/** `data` names the snapshot; its content is streamed beside Raft. */
export interface Snapshot {
  readonly metadata: SnapshotMetadata;
  readonly data: Uint8Array;
}

export type MessageType =
  | 'MsgHup'
  | 'MsgBeat'
  | 'MsgProp'
  | 'MsgApp'
  | 'MsgAppResp'
  | 'MsgVote'
  | 'MsgVoteResp'
  | 'MsgSnap'
  | 'MsgHeartbeat'
  | 'MsgHeartbeatResp'
  | 'MsgUnreachable'
  | 'MsgSnapStatus'
  | 'MsgCheckQuorum'
  | 'MsgTransferLeader'
  | 'MsgTimeoutNow'
  | 'MsgReadIndex'
  | 'MsgReadIndexResp'
  | 'MsgPreVote'
  | 'MsgPreVoteResp'
  | 'MsgStorageAppend'
  | 'MsgStorageAppendResp'
  | 'MsgStorageApply'
  | 'MsgStorageApplyResp'
  | 'MsgForgetLeader';

/** Absent fields are zero, empty or false. */
export interface Message {
  readonly type: MessageType;
  readonly to: number;
  readonly from: number;
  readonly term?: number;
  readonly logTerm?: number;
  readonly index?: number;
  readonly entries?: readonly Entry[];
  readonly commit?: number;
  /** MsgStorageAppend: the vote to persist along with term and commit. */
  readonly vote?: number;
  readonly snapshot?: Snapshot;
  readonly reject?: boolean;
  readonly rejectHint?: number;
  /** Distinguishes campaigns and read requests. */
  readonly context?: Uint8Array;
  /** MsgStorageAppend and MsgStorageApply: to be delivered once the write has been carried out. */
  readonly responses?: readonly Message[];
}

export interface SoftState {
  readonly leader: number;
  readonly role: 'follower' | 'candidate' | 'leader' | 'preCandidate';
}

export interface ReadState {
  readonly index: number;
  readonly requestContext: Uint8Array;
}

/** What the driver must do next, in this order: persist, send, apply. */
export interface Ready {
  readonly softState?: SoftState;
  readonly hardState?: HardState;
  readonly readStates: readonly ReadState[];
  readonly entries: readonly Entry[];
  readonly snapshot?: Snapshot;
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
  readonly mustSync: boolean;
}

/**
 * The stable log as the core reads it. Synchronous: the driver keeps the part that may be asked for in
 * memory. Reads below the first index report "compacted", above the last "unavailable".
 */
export interface RaftStorage {
  initialState(): { hardState: HardState; confState: ConfState };
  /** Entries lo <= index < hi, at least one, then as many as fit in maxSizeBytes. */
  entries(lo: number, hi: number, maxSizeBytes: number): readonly Entry[] | 'compacted' | 'unavailable';
  term(index: number): number | 'compacted' | 'unavailable';
  firstIndex(): number;
  lastIndex(): number;
  /**
   * The newest there is. Undefined: not ready yet, ask again later. It must be newer than the configuration
   * change that added the newest member, else that member waits until there is such a one.
   */
  snapshot(): Snapshot | undefined;
}
