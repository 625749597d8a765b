import type { Clock } from '../../base/clock.ts';
import { grantMs } from './backup-machine.ts';
import { type ReplicaCore, ROOM_ENOUGH } from './core.ts';
import { forgottenGrant } from './grants.ts';
import type { DeliberateFaults, MemberIdentity } from './group-state.ts';
import { CATCH_UP_MAX_BYTES_PER_SECOND, DEFAULT_LEASE_MS } from './limits.ts';
import type { TrimBounds } from './log-trimmer.ts';
import type { NodePace } from './node-pace.ts';
import type { ReplicaFiles } from './replica-files.ts';

export interface CoreOptions {
  readonly groupId: string;
  readonly self: MemberIdentity;
  readonly files: ReplicaFiles;
  readonly clock: Clock;
  readonly faults: DeliberateFaults;
  readonly trim: TrimBounds;
  readonly pace: NodePace;
}

/** What a member knows when its process begins. */
export function newCore({ groupId, self, files, clock, faults, trim, pace }: CoreOptions): ReplicaCore {
  const { epoch, leaseMs } = files.meta;
  // A grant given before a restart still binds; when it was given is forgotten.
  const lastLeaseMs = Math.max(leaseMs, DEFAULT_LEASE_MS);
  return {
    groupId,
    self,
    epoch,
    persistedEpoch: epoch,
    primary: '',
    leaseMs,
    catchUpBytesPerSecond: CATCH_UP_MAX_BYTES_PER_SECOND,
    pace: pace.enter(),
    told: { epoch: 0, inSync: false },
    countedOutEpoch: 0,
    grants: files.wasKnown ? [forgottenGrant(clock.monotonicMs() + grantMs(lastLeaseMs))] : [],
    unreleasedReign: 0,
    log: files.view(),
    links: new Map(),
    ended: new Map(),
    imagesReady: false,
    room: ROOM_ENOUGH,
    ...(trim.nearRecords === undefined ? {} : { nearRecords: trim.nearRecords }),
    faults,
  };
}
