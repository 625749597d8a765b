import type { Clock, Timers } from '../base/clock.ts';
import type { Counters } from '../base/counters.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import type { RandomSource } from '../base/random.ts';
import type { RecordLog } from '../base/record-log.ts';
import type { AppliedStore } from './applied-store.ts';
import type { GroupDisks } from './disk-registration.ts';
import type { MemberAddress } from './membership.ts';
import type { LogBounds } from './raft-store.ts';
import type { ClusterState, NodeEndpoints, NodeId, NodePlacement, WorkerEndpoints } from './state/model.ts';
import type { StateVersions } from './state/versions.ts';

/** What a node's part in the cluster log is made of, and whom it tells. */
export interface ClusterNodeOptions {
  readonly nodeId: NodeId;
  /** Differs at each start. */
  readonly incarnation: string;
  readonly endpoints: NodeEndpoints;
  /** Of the data-plane workers that this process is to have, beyond the first; see `workers` for what it may have. */
  readonly workers?: readonly WorkerEndpoints[];
  /** What its own settings say of its place; absent: nothing. */
  readonly placement?: NodePlacement;
  /** Where the cluster began, the same on every node; also says who the first members are. */
  readonly genesis: ClusterState;
  /** On a node that joined later: itself, and the members as it came. */
  readonly joined?: JoinedMembers;
  /** Both belong to this node alone; closed by their owner, after stop. */
  readonly records: RecordLog;
  readonly appliedStore: AppliedStore;
  /** Its message handler becomes this node's. */
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  /** See RaftLogOptions. */
  readonly lost?: string;
  readonly setAside?: (reason: string) => Promise<RecordLog>;
  /** When to compact the log; default: see limits.ts. */
  readonly logBounds?: LogBounds;
  /** Absent: this node does not tell its disks apart. */
  readonly groupDisks?: GroupDisks;
  /** Bytes of entries in one message to a peer; default: see limits.ts. */
  readonly maxMessageBytes?: number;
  /** This incarnation's word no longer counts: stop serving at once and start as another one. Called once. */
  readonly onFenced: () => void;
  /** This node has been removed from the cluster and is a member of nothing any more. Called once. */
  readonly onRemoved?: () => void;
  /** The nodes to have links with, this one excluded; whenever that changes. */
  readonly onPeersChange?: (peers: readonly MemberAddress[], removedIds: ReadonlySet<NodeId>) => void;
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
