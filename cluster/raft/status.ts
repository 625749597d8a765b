import type { ConfState, HardState, SoftState } from './types.ts';

/** How the leader sends to one peer. */
export type ProgressState = 'probe' | 'replicate' | 'snapshot';

/** The leader's view of one peer. */
export interface PeerProgress {
  readonly id: number;
  /** Highest index known to agree with the leader's log. */
  readonly match: number;
  /** Index of the next entry to send. */
  readonly next: number;
  readonly state: ProgressState;
  /** Heard from since the last quorum check. */
  readonly recentActive: boolean;
  readonly isLearner: boolean;
  readonly paused: boolean;
  /** 0: none. */
  readonly pendingSnapshot: number;
  readonly inflightMessages: number;
  readonly inflightFull: boolean;
}

export interface RaftStatus extends SoftState {
  readonly id: number;
  readonly hardState: HardState;
  readonly applied: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** NO_NODE: no transfer under way. */
  readonly leadTransferee: number;
  readonly confState: ConfState;
  /** Ascending by id; empty unless this node leads. */
  readonly progress: readonly PeerProgress[];
}

export type DropReason =
  | 'noLeader'
  /** This node is not in the configuration that it leads. */
  | 'notMember'
  | 'transferInProgress'
  /** Followers don't forward; see RaftConfig.disableProposalForwarding. */
  | 'forwardingDisabled'
  /** RaftConfig.maxUncommittedEntriesBytes is reached. */
  | 'tooMuchUncommitted';

/** "accepted" promises nothing yet: only a committed entry counts. */
export type ProposalResult =
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'dropped'; readonly reason: DropReason };

/** What became of a message given to step(). */
export type StepOutcome =
  | ProposalResult
  | {
      readonly outcome: 'ignored';
      /** Messages a peer must not send, answers of a node that is no member, messages with parts missing. */
      readonly reason: 'localMessage' | 'unknownPeer' | 'malformed';
    };
