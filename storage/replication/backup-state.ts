import type { ReplicaCore } from './core.ts';

/** What a member knows while another one is primary. */
export interface BackupState {
  readonly core: ReplicaCore;
  /** The primary, by the epoch it took office in, with whose log ours has been brought to agree; 0: none. */
  alignedReign: number;
  /** The primary, by its epoch again, from which this member has to start over; 0: none. */
  startsOverIn: number;
  /** What the newest frame said; answers go there and echo it. */
  heard: Heard | undefined;
  /** When an append failed for want of space; undefined after one that did not. */
  fullSinceMs: number | undefined;
  readonly takingIn: TakingIn;
}

export interface Heard {
  readonly from: string;
  readonly reign: number;
  readonly sentAtMs: number;
  readonly leaseMs: number;
  readonly commitIndex: number;
  readonly syncIndex: number;
}

export function newBackup(core: ReplicaCore): BackupState {
  return {
    core,
    alignedReign: 0,
    startsOverIn: 0,
    heard: undefined,
    fullSinceMs: undefined,
    takingIn: { saidIndex: undefined, isHolding: false, pacedIndex: 0 },
  };
}

/** What a member that catches up holds back of its acknowledgements, so that it is sent no more than its node has room for. */
export interface TakingIn {
  /** What was acknowledged last to the primary with whose log ours agrees; undefined: nothing yet. */
  saidIndex: number | undefined;
  /** More than that could have been. */
  isHolding: boolean;
  /** Where the log was to end at the last tick. */
  pacedIndex: number;
}
