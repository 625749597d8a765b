/**
 * What replication needs to know of the cluster's state. Structurally a part of the replicated
 * configuration's own records, so that these can be handed in as they are.
 */
export interface PortalGroupState {
  readonly id: string;
  /** Rises by one with every change of primary or in-sync set. */
  readonly epoch: number;
  readonly primary?: string;
  readonly inSync: readonly MemberIdentity[];
  readonly replicas: readonly string[];
  /** Writes stall while fewer members than this are in sync. */
  readonly minInSync: number;
  readonly durability: 'write-back' | 'durable';
  /** The epoch in which an administrator last had it start from a copy that may have lacked writes. */
  readonly lossAcceptedEpoch?: number;
  /** The epoch in which it last went on, without a loss, from a copy that had left the set. */
  readonly resumedEpoch?: number;
}

export interface MemberIdentity {
  readonly nodeId: string;
  readonly incarnation: string;
}

export interface ReplicationNode extends MemberIdentity {
  readonly status: 'new' | 'up' | 'fenced';
}

/** What all groups have in common. */
export interface ClusterAround {
  readonly nodes: readonly ReplicationNode[];
  /** How long a backup's grant to its primary lasts. */
  readonly leaseMs: number;
  /** Sent at most by a node to all members that catch up, and taken in by one; absent: CATCH_UP_MAX_BYTES_PER_SECOND. */
  readonly catchUpBytesPerSecond?: number;
}

export interface ReplicationClusterState extends ClusterAround {
  readonly groups: readonly PortalGroupState[];
}

export function sameMember(a: MemberIdentity, b: MemberIdentity): boolean {
  return a.nodeId === b.nodeId && a.incarnation === b.incarnation;
}

export function isInSync(group: PortalGroupState, member: MemberIdentity): boolean {
  return group.inSync.some((m) => sameMember(m, member));
}

/**
 * What became of a proposed change. `applied` and `refused` are certain; `not-applied` says that it
 * certainly never reached the log; after `unknown` it may still take effect at any time.
 */
export type ProposalOutcome = 'applied' | 'refused' | 'not-applied' | 'unknown';

/**
 * Rules that a test may break on purpose, to see that the checker of the simulation notices. Never set
 * outside tests.
 */
export interface DeliberateFaults {
  readonly acknowledgeBeforeAllHaveIt?: boolean;
  readonly acknowledgeBeforeShrinkCommits?: boolean;
  readonly skipLeaseWait?: boolean;
  readonly skipUnionWhileExpanding?: boolean;
}
