import type { RaftTraceEvent } from './trace.ts';
import type { RaftStorage } from './types.ts';

export interface RaftConfig {
  readonly id: number;
  readonly electionTick: number;
  readonly heartbeatTick: number;
  readonly storage: RaftStorage;
  /** Last index already applied when the core starts. */
  readonly applied: number;
  readonly asyncStorageWrites: boolean;
  /** Entries in one MsgApp; 0: one entry each. */
  readonly maxSizePerMessageBytes: number;
  /** Entries handed out for applying and not yet applied; 0: as maxSizePerMessageBytes. */
  readonly maxCommittedSizePerReadyBytes: number;
  /** Data of proposals not yet committed, above which new ones are dropped; 0: no limit. */
  readonly maxUncommittedEntriesBytes: number;
  readonly maxInflightMessages: number;
  /** 0: no limit. */
  readonly maxInflightBytes: number;
  readonly checkQuorum: boolean;
  readonly preVote: boolean;
  readonly readOnlyOption: 'safe' | 'leaseBased';
  readonly disableProposalForwarding: boolean;
  readonly disableConfChangeValidation: boolean;
  readonly stepDownOnRemoval: boolean;
  /** An integer, uniform over 0 <= n < bound; the only randomness there is. */
  readonly random: (bound: number) => number;
  /** Told of every decision, for tests and for logging in our own words. */
  readonly trace: (event: RaftTraceEvent) => void;
}
