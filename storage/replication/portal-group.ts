import type { BlockDevice } from '../block-device.ts';
import type { ImageVersionRef } from '../image/image-source.ts';
import type { CopyReading } from './copy-report.ts';
import type { DamageStatus } from './record-mender.ts';

/** What the rest of a node may do with one of its portal groups. */
export interface PortalGroup {
  /** Primary, within its lease, with everything committed readable. */
  isServing(): boolean;
  /** 0 when not serving; Infinity when no other node could take over. */
  leaseRemainingMs(): number;
  luns(): LunInfo[];
  /**
   * Starts the LUN over on `base`, dropping whatever was written to it. Writes of devices opened before fail
   * or land before the reset. Resolves once all in-sync members have it.
   * @throws DeviceError kind "not-serving", "no-space"
   */
  resetLun(lun: { lunId: number; base: ImageVersionRef; lengthBlocks: number }): Promise<void>;
  /** @throws DeviceError kind "not-serving", "no-space" */
  dropLun(lunId: number): Promise<void>;
  /**
   * Resolves once all that had effect when it was called is durable on all in-sync members.
   * @throws DeviceError kind "not-serving"
   */
  sync(): Promise<void>;
  /** The LUN's present generation as a disk; undefined when there is none, or this node does not serve. */
  openDevice(lunId: number): BlockDevice | undefined;
  /**
   * The same on any member: until this node serves the group everything but what is known of the disk fails as not
   * serving. Undefined when this member has no such LUN.
   */
  standbyDevice(lunId: number): BlockDevice | undefined;
  /** Has the nodes of the other members told, now and again; on a primary only, until it is one no more. */
  publish(notice: Uint8Array): void;
  status(): PortalGroupStatus;
  /** See PortalGroupReplica.verifyPart. */
  verifyPart(
    fromIndex: number,
    maxBytes: number,
  ): Promise<{ nextIndex: number; endIndex: number; readBytes: number }>;
  /** About how long the log is. */
  logBytes(): number;
  /** What this copy lacks by its own log, which is read through for that. */
  readCopy(): CopyReading;
  /** What was found damaged in this copy since the start. */
  damage(): DamageStatus;
}

export interface LunInfo {
  readonly lunId: number;
  readonly base: ImageVersionRef;
  /** In logical blocks of 512 bytes. */
  readonly lengthBlocks: number;
  /** Of the client's own data, counting a block once however often it was written. */
  readonly writtenBytes: number;
}

export interface PortalGroupStatus {
  readonly role: 'primary' | 'backup';
  readonly epoch: number;
  readonly primary: string | undefined;
  readonly isServing: boolean;
  /** Records below are committed. */
  readonly commitIndex: number;
  /** The number the next record will get. */
  readonly nextIndex: number;
  readonly firstIndex: number;
  /** Base images of all LUNs are here. */
  readonly imagesReady: boolean;
  /** On a primary: fewer members are in sync than the group has replicas. */
  readonly isDegraded: boolean;
  /** On a primary: fewer than minInSync, so that writes wait. */
  readonly areWritesStalled: boolean;
  readonly room: RoomStatus;
  /** On a primary: members by whose pace clients go, or would if they were in sync. */
  readonly slow: readonly SlowMember[];
  /** On a primary. */
  readonly members: readonly MemberStatus[];
  /** On a primary: the member that is farthest behind while catching up. */
  readonly catchUp: CatchUpStatus | undefined;
}

/** How the disks of the logs of a group stand, as far as this member knows: a primary of all, a backup of its own. */
export interface RoomStatus {
  /** Clients' writes are refused space. */
  readonly isExhausted: boolean;
  /** They may soon be. */
  readonly isRunningOut: boolean;
  /** Members that have nothing but their reserve left. */
  readonly lowMembers: readonly string[];
}

/** A member that takes much longer for what is written than others do. */
export interface SlowMember {
  readonly nodeId: string;
  /** How long it took when it was last found slow, and how long the others then. */
  readonly tookMs: number;
  readonly othersTookMs: number;
  /** It is out of the set for that, and not to be let in again before this; undefined: it is in the set. */
  readonly returnsInMs: number | undefined;
  /** It is the primary, and its disk has taken nothing for so long. */
  readonly stalledMs?: number;
  /** It was, and has handed the group over for that. */
  readonly hasHandedOver?: boolean;
}

export interface MemberStatus {
  readonly nodeId: string;
  readonly isInSync: boolean;
  readonly linkUp: boolean;
  readonly ackedIndex: number;
  readonly durableIndex: number;
  readonly leaseRemainingMs: number;
  readonly isFull: boolean;
}

export interface CatchUpStatus {
  readonly nodeId: string;
  readonly ackedIndex: number;
  readonly targetIndex: number;
  /** Where it was when it began. */
  readonly beganIndex: number;
  /** Sent to it lately. */
  readonly bytesPerSecond: number;
  /** What may be sent just now to all members together that catch up, beside what clients need. */
  readonly paceBytesPerSecond: number;
  /** As an administrator has set it. */
  readonly limitBytesPerSecond: number;
  /** At the pace of late; undefined while it makes none. */
  readonly secondsLeft: number | undefined;
}
