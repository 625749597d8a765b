import type { LoggedRecord } from '../lun/log-record.ts';
import type { EpochEntry } from './epoch-table.ts';
import type { Frame } from './frame.ts';
import type { Grant } from './grants.ts';
import type {
  DeliberateFaults,
  MemberIdentity,
  PortalGroupState,
  ProposalOutcome,
  ReplicationNode,
} from './group-state.ts';
import type { GroupPace } from './node-pace.ts';

/** Where a member's log stands. Moves ahead of the file: what has been decided, not what has been done. */
export interface LogView {
  /** Records below are gone; the list of LUNs in the meta file stands for them. */
  baseIndex: number;
  /**
   * That list, or one that is about to take its place, knows what records below this did: the log must not lose them. One that
   * has lost some starts over, or it would take other records in their places for older than the list.
   */
  lunsIndex: number;
  /** Number of the next record to be given its place. */
  nextIndex: number;
  /** Records below have been written to the operating system. */
  appendedIndex: number;
  /** Records below are on stable storage. */
  durableIndex: number;
  /** Records below are known to be committed. */
  commitIndex: number;
  epochs: readonly EpochEntry[];
  /** The table last persisted. One that names an epoch the log lacks must not outlive the next append. */
  persistedEpochs: readonly EpochEntry[];
  /**
   * Rises when places given in the log are void: it was cut, or had no space. What was decided before, and
   * what is reported of it, is then known by an older number.
   */
  cut: number;
}

/** What is left of the disk of a member's logs, where clients' writes leave a reserve. */
export interface DiskRoom {
  /** There soon will be nothing but the reserve. */
  readonly isFilling: boolean;
  /** There is nothing but the reserve. */
  readonly isLow: boolean;
  /** And of that only the half. */
  readonly isSpent: boolean;
}

export const ROOM_ENOUGH: DiskRoom = { isFilling: false, isLow: false, isSpent: false };

export interface LinkState {
  readonly incarnation: string;
  readonly up: boolean;
  readonly sinceMs: number;
}

/** What a member of a group knows in either role. Changed in place by the machines and by nothing else. */
export interface ReplicaCore {
  readonly groupId: string;
  readonly self: MemberIdentity;
  /** The highest epoch seen. Persisted before anything is said under it. */
  epoch: number;
  /** The highest one that is on stable storage: under a later one nothing is acknowledged yet. */
  persistedEpoch: number;
  /** Primary of that epoch; "" when not known. */
  primary: string;
  leaseMs: number;
  /** The node sends no more than this to copies that catch up, and takes in no more as one. */
  catchUpBytesPerSecond: number;
  /** This group's part of that. */
  readonly pace: GroupPace;
  /** What the cluster itself has said last: whether this very process was in sync in that epoch. */
  told: { readonly epoch: number; readonly inSync: boolean };
  /** The last epoch in which the cluster knew of this process and did not have it in sync; 0: none that it was told of. */
  countedOutEpoch: number;
  /** While they last, those they were given to may be serving. */
  grants: readonly Grant[];
  /**
   * The last reign of this process, while something of it may be left: a portal address, a listener. 0 once
   * nothing is. It is set to another one with each office taken, and this process never serves in an earlier one.
   */
  unreleasedReign: number;
  readonly log: LogView;
  readonly links: Map<string, LinkState>;
  /** By node: a process that has surely ended. What still comes from it came too late. */
  readonly ended: Map<string, string>;
  imagesReady: boolean;
  room: DiskRoom;
  /** A member so near the end counts as one that keeps up; absent: the usual distance. */
  readonly nearRecords?: number;
  readonly faults: DeliberateFaults;
}

export type MembershipChange =
  | { readonly kind: 'shrink'; readonly epoch: number; readonly remove: string }
  | { readonly kind: 'expand'; readonly epoch: number; readonly add: string; readonly incarnation: string }
  /** The primary leaves the set, and another member takes over. */
  | { readonly kind: 'handOver'; readonly epoch: number };

/**
 * Why a member is to be put out of the set: it is silent, gone or makes no headway; its answers come too late for a lease; only
 * the reserve of its disk is left; it holds clients up though it makes headway; it is the primary, and its own disk takes nothing.
 */
export type ShrinkReason = 'failed' | 'late-answers' | 'no-room' | 'slow' | 'own-disk';

export type ReplicaEvent =
  | {
      readonly kind: 'state';
      /** Undefined keeps the last one. */
      readonly group: PortalGroupState;
      readonly nodes: readonly ReplicationNode[];
      readonly leaseMs: number;
      /** Absent: CATCH_UP_MAX_BYTES_PER_SECOND. */
      readonly catchUpBytesPerSecond?: number;
    }
  | { readonly kind: 'link'; readonly peer: MemberIdentity; readonly up: boolean }
  /** That process has surely ended, as its guardian has seen. */
  | { readonly kind: 'ended'; readonly peer: MemberIdentity }
  /** `records`: those of an append, decoded and intact. */
  | {
      readonly kind: 'frame';
      readonly from: MemberIdentity;
      readonly frame: Frame;
      readonly records: readonly LoggedRecord[];
    }
  | { readonly kind: 'assigned'; readonly nextIndex: number }
  | { readonly kind: 'appended'; readonly cut: number; readonly appendedIndex: number }
  /** No space: neither that append nor any given its place after it has taken effect. */
  | { readonly kind: 'appendFailed'; readonly cut: number; readonly appendedIndex: number }
  | { readonly kind: 'synced'; readonly cut: number; readonly durableIndex: number }
  | { readonly kind: 'applied' }
  /** What `letGo` asked for has been done. */
  | { readonly kind: 'letGone'; readonly reign: number }
  | {
      readonly kind: 'streamed';
      readonly to: MemberIdentity;
      readonly fromIndex: number;
      readonly sent: SentRecords;
    }
  | { readonly kind: 'proposed'; readonly change: MembershipChange; readonly outcome: ProposalOutcome }
  | { readonly kind: 'imagesReady'; readonly ready: boolean }
  | { readonly kind: 'room'; readonly room: DiskRoom }
  | { readonly kind: 'wantSync'; readonly index: number }
  /** The list of LUNs as it was at `lunsIndex` is about to be written down; all before is durable. */
  | { readonly kind: 'trimming'; readonly lunsIndex: number }
  | { readonly kind: 'trimmed'; readonly baseIndex: number }
  | { readonly kind: 'tick' };

/** Undefined when the link would not take them. */
export type SentRecords = { readonly nextIndex: number; readonly lengthBytes: number } | undefined;

/** Carried out strictly in order; one that takes time holds up those after it. */
export type ReplicaEffect =
  /** Epoch, grant and table of epochs onto stable storage. */
  | {
      readonly kind: 'persist';
      readonly epoch: number;
      readonly leaseMs: number;
      readonly epochs: readonly EpochEntry[];
    }
  | { readonly kind: 'send'; readonly to: string; readonly frame: Frame }
  /** Send the list of LUNs, from which the member starts over. */
  | { readonly kind: 'sendReset'; readonly to: string }
  /** Send records from the log; answered by `streamed`. */
  | {
      readonly kind: 'stream';
      readonly to: MemberIdentity;
      readonly fromIndex: number;
      readonly maxBytes: number;
      /** Superseded records below this are sent as voids. */
      readonly elideBelow: number;
    }
  | {
      readonly kind: 'append';
      readonly cut: number;
      readonly firstIndex: number;
      readonly records: readonly LoggedRecord[];
    }
  /** Records below `index` are to be durable here. */
  | { readonly kind: 'sync'; readonly index: number }
  | { readonly kind: 'truncate'; readonly fromIndex: number }
  | {
      readonly kind: 'reset';
      readonly baseIndex: number;
      readonly epochs: readonly EpochEntry[];
      readonly snapshot: Uint8Array;
    }
  /** The list of LUNs is to know of no record from there on. */
  | { readonly kind: 'shortenList'; readonly cut: number; readonly lunsIndex: number }
  | { readonly kind: 'commit' }
  /** Append the record with which this primary takes office. */
  | { readonly kind: 'beginEpoch'; readonly epoch: number; readonly cut: number; readonly index: number }
  | {
      readonly kind: 'propose';
      readonly change: MembershipChange;
      readonly reason: ShrinkReason | undefined;
    }
  /** The office of that reign has ended: give up what the network knows us by. Answered by `letGone`. */
  | { readonly kind: 'letGo'; readonly reign: number }
  /** Something that must not happen and was not obeyed, or a peer's mistake. */
  | { readonly kind: 'complain'; readonly event: string; readonly fields: Readonly<Record<string, unknown>> };

export function persistEffect(core: ReplicaCore): ReplicaEffect {
  core.log.persistedEpochs = core.log.epochs;
  return { kind: 'persist', epoch: core.epoch, leaseMs: core.leaseMs, epochs: core.log.epochs };
}
