import { STORED_BLOCK_BYTES } from '../lun/limits.ts';
import type { LunTable } from '../lun/lun-table.ts';
import { isInSync } from './group-state.ts';
import type { CatchUpStatus, LunInfo, PortalGroupStatus } from './portal-group.ts';
import { isServing, othersInSync, type PrimaryState } from './primary-state.ts';
import type { ReplicaState } from './replica-machine.ts';
import { roomStatus } from './room-watch.ts';
import { slowMembers } from './slow-members.ts';

export function replicaStatus(state: ReplicaState, nowMs: number): PortalGroupStatus {
  const { core, primary } = state;
  const { log } = core;
  return {
    role: primary === undefined ? 'backup' : 'primary',
    epoch: core.epoch,
    primary: core.primary === '' ? undefined : core.primary,
    isServing: primary !== undefined && isServing(primary, nowMs),
    commitIndex: log.commitIndex,
    nextIndex: log.nextIndex,
    firstIndex: log.baseIndex,
    imagesReady: core.imagesReady,
    isDegraded: primary !== undefined && primary.group.inSync.length < primary.group.replicas.length,
    areWritesStalled: primary !== undefined && primary.group.inSync.length < primary.group.minInSync,
    room: roomStatus(state),
    slow: primary === undefined ? [] : slowMembers(primary, nowMs),
    members: primary === undefined ? [] : memberStatus(primary, nowMs),
    catchUp: primary === undefined ? undefined : catchUpOf(primary),
  };
}

export function lunInfo(table: LunTable): LunInfo[] {
  return Array.from(table.all(), ({ description, blocks }) => ({
    lunId: description.lunId,
    base: description.base,
    lengthBlocks: description.lengthBlocks,
    writtenBytes: blocks.writtenBlocks * STORED_BLOCK_BYTES,
  }));
}

function memberStatus(state: PrimaryState, nowMs: number): PortalGroupStatus['members'] {
  return Array.from(state.members.values(), (member) => ({
    nodeId: member.nodeId,
    isInSync: isInSync(state.group, member),
    linkUp: member.linkUp,
    ackedIndex: member.ackedIndex,
    durableIndex: member.durableIndex,
    leaseRemainingMs: Math.max(0, member.leaseUntilMs - nowMs),
    isFull: member.full,
  }));
}

function catchUpOf(state: PrimaryState): CatchUpStatus | undefined {
  const insiders = new Set(othersInSync(state).map((m) => m.nodeId));
  let last: CatchUpStatus | undefined;
  for (const { nodeId, linkUp, ackedIndex, meter } of state.members.values()) {
    if (!linkUp || insiders.has(nodeId) || (last !== undefined && last.ackedIndex <= ackedIndex)) continue;
    const targetIndex = state.core.log.appendedIndex;
    const { recordsPerSecond, bytesPerSecond, beganIndex = ackedIndex } = meter;
    const secondsLeft = recordsPerSecond > 0 ? (targetIndex - ackedIndex) / recordsPerSecond : undefined;
    const paceBytesPerSecond = state.core.pace.sending.bytesPerSecond;
    const limitBytesPerSecond = state.core.catchUpBytesPerSecond;
    const speeds = { bytesPerSecond, paceBytesPerSecond, limitBytesPerSecond };
    last = { nodeId, ackedIndex, targetIndex, beganIndex, ...speeds, secondsLeft };
  }
  return last;
}
