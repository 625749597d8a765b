import type { ConfChange } from './conf-change-types.ts';
import type { Configuration } from './configuration.ts';
import type { DropReason, PeerProgress } from './status.ts';
import type { ConfState, MessageType, SoftState } from './types.ts';

/**
 * Every decision of the core, as data, in the order it is taken. Objects inside an event are the core's own
 * and may change after the callback returns: copy what is kept.
 */
export type RaftTraceEvent =
  | LifecycleEvent
  | ElectionEvent
  | TermEvent
  | LogEvent
  | ReplicationEvent
  | SnapshotEvent
  | ConfigurationEvent
  | TransferEvent
  | DroppedEvent;

export type Trace = (event: RaftTraceEvent) => void;

interface LastEntry {
  readonly lastTerm: number;
  readonly lastIndex: number;
}

export type LifecycleEvent =
  | (LastEntry & {
      readonly event: 'started';
      readonly voters: readonly number[];
      readonly term: number;
      readonly commit: number;
      readonly applied: number;
    })
  | { readonly event: 'becameFollower'; readonly term: number }
  | { readonly event: 'becamePreCandidate'; readonly term: number }
  | { readonly event: 'becameCandidate'; readonly term: number }
  | { readonly event: 'becameLeader'; readonly term: number }
  | { readonly event: 'quorumLost' }
  | { readonly event: 'leaderForgotten'; readonly leader: number; readonly term: number }
  | { readonly event: 'forgetLeaderRefused' };

/** A vote request as its receiver sees it, beside the receiver's own last entry and vote. */
interface VoteRequestSeen extends LastEntry {
  readonly vote: number;
  readonly type: MessageType;
  readonly from: number;
  readonly candidateTerm: number;
  readonly candidateIndex: number;
  readonly term: number;
}

export type ElectionEvent =
  | { readonly event: 'electionStarted'; readonly term: number }
  | {
      readonly event: 'campaignRefused';
      readonly reason: 'alreadyLeader' | 'unpromotable' | 'unappliedConfChange';
      readonly term: number;
    }
  | (LastEntry & {
      readonly event: 'voteRequested';
      readonly type: MessageType;
      readonly to: number;
      readonly term: number;
    })
  | {
      readonly event: 'voteReceived';
      readonly type: MessageType;
      readonly from: number;
      readonly term: number;
      readonly granted: boolean;
    }
  | {
      readonly event: 'votesCounted';
      readonly type: MessageType;
      readonly granted: number;
      readonly rejected: number;
    }
  | (VoteRequestSeen & { readonly event: 'voteCast' })
  | (VoteRequestSeen & { readonly event: 'voteRejected' })
  | (VoteRequestSeen & { readonly event: 'voteIgnoredInLease'; readonly remainingTicks: number });

export type TermEvent =
  | TermMismatch<'higherTermReceived'>
  | TermMismatch<'lowerTermIgnored'>
  | TermMismatch<'lowerTermAppendIgnored'>;

interface TermMismatch<Event extends string> {
  readonly event: Event;
  readonly term: number;
  readonly type: MessageType;
  readonly from: number;
  readonly messageTerm: number;
}

export type LogEvent =
  | {
      readonly event: 'conflictFound';
      readonly index: number;
      readonly existingTerm: number;
      readonly conflictingTerm: number;
    }
  | { readonly event: 'unstableReplaced'; readonly fromIndex: number }
  | { readonly event: 'unstableTruncated'; readonly beforeIndex: number }
  | { readonly event: 'stableEntryMissing'; readonly index: number }
  | { readonly event: 'stableEntryIsSnapshot'; readonly index: number }
  | {
      readonly event: 'stableEntryMismatch';
      readonly index: number;
      readonly term: number;
      readonly unstableTerm: number;
    };

export type ReplicationEvent =
  | {
      readonly event: 'appendRejected';
      readonly from: number;
      readonly index: number;
      readonly ownTerm: number;
      readonly messageTerm: number;
    }
  | {
      readonly event: 'appendRejectionReceived';
      readonly from: number;
      readonly index: number;
      readonly hintIndex: number;
      readonly hintTerm: number;
    }
  | { readonly event: 'progressDecreased'; readonly peer: number; readonly progress: PeerProgress }
  | { readonly event: 'peerUnreachable'; readonly peer: number; readonly progress: PeerProgress }
  | { readonly event: 'unknownPeerIgnored'; readonly peer: number };

interface SnapshotEntry {
  readonly index: number;
  readonly term: number;
}

export type SnapshotEvent =
  | { readonly event: 'snapshotPeerInactive'; readonly peer: number }
  /** withoutPeer: storage must make one that is newer than the change which added the peer. */
  | {
      readonly event: 'snapshotNotReady';
      readonly peer: number;
      readonly reason: 'unavailable' | 'withoutPeer';
    }
  | (SnapshotEntry & {
      readonly event: 'snapshotSent';
      readonly peer: number;
      readonly firstIndex: number;
      readonly commit: number;
      /** As it was before the snapshot was sent. */
      readonly progress: PeerProgress;
    })
  | { readonly event: 'peerPaused'; readonly peer: number; readonly progress: PeerProgress }
  | { readonly event: 'peerRecovered'; readonly peer: number; readonly progress: PeerProgress }
  | {
      readonly event: 'snapshotReported';
      readonly peer: number;
      readonly succeeded: boolean;
      readonly progress: PeerProgress;
    }
  | (SnapshotEntry & {
      readonly event: 'logRestoring';
      readonly commit: number;
      readonly applied: number;
      readonly applying: number;
      readonly unstableOffset: number;
      readonly unstableOffsetInProgress: number;
      readonly unstableLength: number;
    })
  | (SnapshotEntry & LastEntry & { readonly event: 'stateRestored'; readonly commit: number })
  | (SnapshotEntry & LastEntry & { readonly event: 'commitFastForwarded'; readonly commit: number })
  | (SnapshotEntry & {
      readonly event: 'snapshotHandled';
      readonly commit: number;
      readonly restored: boolean;
    })
  | { readonly event: 'snapshotWhileLeading' }
  | { readonly event: 'snapshotWithoutUs'; readonly confState: ConfState };

export type ConfChangeCheck =
  | { readonly check: 'pending'; readonly pendingIndex: number; readonly applied: number }
  | { readonly check: 'alreadyJoint' }
  | { readonly check: 'notJoint' };

export type ConfigurationEvent =
  | { readonly event: 'configurationSwitched'; readonly configuration: Configuration }
  | {
      readonly event: 'confChangeRefused';
      readonly change: ConfChange;
      readonly configuration: Configuration;
      readonly reason: ConfChangeCheck;
    }
  | { readonly event: 'autoLeaveProposed'; readonly configuration: Configuration }
  | { readonly event: 'autoLeaveDeferred'; readonly configuration: Configuration };

export type TransferEvent =
  | {
      readonly event: 'transferStarted' | 'transferAborted' | 'transferRepeated';
      readonly term: number;
      readonly to: number;
    }
  | { readonly event: 'transferToSelf' | 'transferToLearner' }
  | { readonly event: 'timeoutNowSent'; readonly to: number; readonly when: 'atOnce' | 'caughtUp' }
  | { readonly event: 'timeoutNowReceived'; readonly term: number; readonly from: number }
  | {
      readonly event: 'timeoutNowIgnored';
      readonly term: number;
      readonly from: number;
      readonly role: SoftState['role'];
    };

export type DroppedEvent =
  | {
      readonly event: 'proposalDropped';
      readonly reason: DropReason;
      readonly term: number;
      readonly leader: number;
      readonly leadTransferee: number;
    }
  | { readonly event: 'transferDropped' | 'readIndexDropped'; readonly term: number }
  /** Too many reads wait already; see limits.ts. */
  | { readonly event: 'readIndexRefused'; readonly waiting: number };
