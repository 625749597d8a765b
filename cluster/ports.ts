import type { DiskLatency } from './disk-latency.ts';
import type { RefetchStatus } from './refetch.ts';
import type { Command, CommandResult } from './state/commands.ts';
import type { ClusterState, NodeId } from './state/model.ts';

/** What the rest of a node may see of the cluster log. */
export interface ClusterView {
  readonly nodeId: NodeId;
  /** As of the last entry applied on this node. */
  state(): ClusterState;
  /** As of a moment after the call, as all nodes agree (ReadIndex). @throws OperationError kind "unavailable" */
  linearizableState(): Promise<ClusterState>;
  /** Called after every applied entry that changed the state, in order. */
  subscribe(listener: (state: ClusterState) => void): () => void;
  /**
   * Replicates and applies a command, from any node.
   * @throws OperationError kind "unavailable" when it certainly was not applied (no leader, queue full),
   *   kind "unknown-outcome" when that cannot be known
   */
  propose(command: Command): Promise<CommandResult>;
  status(): ClusterStatus;
  /**
   * Whether a node was removed and has no part in the cluster log either, as this one has it. Until then its vote may be
   * needed, and it is dealt with as any other node.
   */
  hasLeft(nodeId: NodeId): boolean;
}

export interface ClusterStatus {
  readonly nodeId: NodeId;
  readonly role: 'leader' | 'follower' | 'candidate' | 'pre-candidate';
  readonly leader: NodeId | undefined;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly disk: DiskLatency;
  /** Undefined: this node has lost nothing, or has it again. Else it does not take part yet. */
  readonly refetch: RefetchStatus | undefined;
  /** Of Raft, as this node has it; those of the configuration follow when they have the log. */
  readonly members: readonly RaftMemberStatus[];
  /** How much longer the cluster must be calm before anything is moved for balance; undefined: the leader knows. */
  readonly calmNeededMs: number | undefined;
  /** On the leader: what it knows of each peer. */
  readonly peers: readonly PeerStatus[];
}

export interface RaftMemberStatus {
  readonly nodeId: NodeId;
  /** A learner has no vote yet. */
  readonly role: 'voter' | 'learner';
}

export interface PeerStatus {
  readonly nodeId: NodeId;
  readonly linkUp: boolean;
  /** On the leader: the last entry that the peer is known to have on its disk. */
  readonly matchIndex: number | undefined;
  /** On the leader: committed entries that the peer is not known to have. */
  readonly lagEntries: number | undefined;
  /** How long ago this node last heard from it, whoever leads; undefined: never. */
  readonly lastContactMs: number | undefined;
}
