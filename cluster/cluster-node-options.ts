import type { AppliedStore } from './applied-store.ts';
import type { GroupDisks } from './disk-registration.ts';
import type { MemberAddress } from './membership.ts';
import type { RaftLogOptions } from './raft-start.ts';
import type { ClusterState, NodeEndpoints, NodeId, NodePlacement, WorkerEndpoints } from './state/model.ts';
import type { StateVersions } from './state/versions.ts';

/** What the node itself finds out for its log. */
type FoundByNode = 'raftId' | 'firstVoters' | 'members' | 'onTick';

/** What a node's part in the cluster log is made of, and whom it tells. The transport's message handler becomes this node's. */
export interface ClusterNodeOptions extends Omit<RaftLogOptions, FoundByNode> {
  readonly nodeId: NodeId;
  /** Differs at each start. */
  readonly incarnation: string;
  readonly endpoints: NodeEndpoints;
  /** Of the data-plane workers that this process is to have, beyond the first; see `workers` for what it may have. */
  readonly workers?: readonly WorkerEndpoints[];
  /** What names the present run of its host's kernel; absent: nobody knows. */
  readonly boot?: string;
  /** What its own settings say of its place; absent: nothing. */
  readonly placement?: NodePlacement;
  /** Where the cluster began, the same on every node; also says who the first members are. */
  readonly genesis: ClusterState;
  /** On a node that joined later: itself, and the members as it came. */
  readonly joined?: JoinedMembers;
  /** Belongs to this node alone, as `records` does; closed by its owner, after stop. */
  readonly appliedStore: AppliedStore;
  /** Absent: this node does not tell its disks apart. */
  readonly groupDisks?: GroupDisks;
  /** This incarnation's word no longer counts: stop serving at once and start as another one. Called once. */
  readonly onFenced: () => void;
  /** This node has been removed from the cluster and is a member of nothing any more. Called once. */
  readonly onRemoved?: () => void;
  /** The nodes to have links with, this one excluded, and those that are out; whenever that changes. See ClusterView.hasLeft. */
  readonly onPeersChange?: (peers: readonly MemberAddress[], leftIds: ReadonlySet<NodeId>) => void;
  /** Default: those of this program. */
  readonly versions?: StateVersions;
  /**
   * The process is to end: a disk has failed, or, an OperationError, its program is too old for what the cluster has
   * agreed on.
   */
  readonly onFatal: (error: unknown) => void;
}

/** What a node that joins is told of those who are there. */
export interface JoinedMembers {
  readonly raftId: number;
  readonly members: readonly MemberAddress[];
}
