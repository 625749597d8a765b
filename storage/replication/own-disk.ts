import { isInSync, type MemberIdentity, type PortalGroupState, type ReplicationNode } from './group-state.ts';
import {
  HAND_OVER_RETRY_MS,
  LAPSE_LOOK_MAX_MS,
  OWN_DISK_PROBE_MS,
  OWN_DISK_STALL_MS,
  OWN_EPOCH_STALL_MS,
  OWN_PAUSE_MS,
  SLOW_MS,
  SLOW_SYNC_MS,
} from './limits.ts';
import {
  type Member,
  memberOf,
  type OwnDisk,
  othersInSync,
  type PrimaryState,
  type Standstill,
} from './primary-state.ts';
import { arrearsMs } from './progress.ts';

/**
 * A disk of the primary that takes nothing and reports no error. Nothing is acknowledged without the primary's own copy, so all
 * clients wait for it, and no other member can tell. The primary itself can, and gives the group up (docs/adr/0031): by an entry
 * of the cluster log that puts it out of the set and makes another member primary. That needs nothing of its disk.
 */

const newStandstill = (): Standstill => ({ doneIndex: 0, isOwed: false, forMs: 0 });

export function newOwnDisk(): OwnDisk {
  return { write: newStandstill(), sync: newStandstill(), epoch: newStandstill() };
}

/**
 * At each tick.
 * @param elapsedMs since the last one; what is more than a tick or two was a pause of this process, in which it could have heard of nothing
 */
export function watchOwnDisk(state: PrimaryState, elapsedMs: number, nowMs: number): void {
  const { core, ownDisk } = state;
  const { log } = core;
  const ranMs = Math.min(elapsedMs, LAPSE_LOOK_MAX_MS);
  const wasMute = isMute(state);
  look(ownDisk.write, log.appendedIndex, log.nextIndex, ranMs);
  look(ownDisk.sync, log.durableIndex, wantedDurable(state), ranMs);
  look(ownDisk.epoch, core.persistedEpoch, core.epoch, ranMs);
  // What was held back goes out now, and has yet to be answered.
  if (wasMute && !isMute(state)) state.patientUntilMs = Math.max(state.patientUntilMs, nowMs + OWN_PAUSE_MS);
}

function look(standstill: Standstill, doneIndex: number, askedIndex: number, ranMs: number): void {
  const isOwed = askedIndex > doneIndex;
  const isStill = standstill.isOwed && isOwed && standstill.doneIndex === doneIndex;
  standstill.forMs = isStill ? standstill.forMs + ranMs : 0;
  standstill.isOwed = isOwed;
  standstill.doneIndex = doneIndex;
}

function wantedDurable({ core: { log }, group, syncIndex }: PrimaryState): number {
  return group.durability === 'durable' ? log.appendedIndex : Math.min(syncIndex, log.appendedIndex);
}

/** Nothing goes out before the epoch is written down: that the others are silent is no fault of theirs. */
export function isMute({ ownDisk }: PrimaryState): boolean {
  return ownDisk.epoch.forMs >= SLOW_MS / 2;
}

/** How long its own disk has taken nothing; 0: not for so long that anything is to be done about it. */
export function stalledForMs({ ownDisk: { write, sync, epoch } }: PrimaryState): number {
  const dataMs = Math.max(write.forMs, sync.forMs);
  return Math.max(
    dataMs >= OWN_DISK_STALL_MS ? dataMs : 0,
    epoch.forMs >= OWN_EPOCH_STALL_MS ? epoch.forMs : 0,
  );
}

/** @returns up to where the others are to make durable what they have, which shows how their disks are; undefined: as ever */
export function probeIndex({ ownDisk, core }: PrimaryState): number | undefined {
  // What was not appended here has not been sent to anybody.
  return ownDisk.write.forMs >= OWN_DISK_PROBE_MS ? core.log.appendedIndex : undefined;
}

/** How long a member has owed that data be durable. */
export function owesSyncMs(state: PrimaryState, member: Member, nowMs: number): number {
  const durable = state.group.durability === 'durable';
  return arrearsMs(state, nowMs, (mark) => {
    const syncIndex = durable ? mark.appendedIndex : mark.syncIndex;
    return member.durableIndex < syncIndex;
  });
}

/**
 * Nobody's disk makes anything durable, this one's neither: it is what they share that fails, and nothing would be acknowledged
 * any sooner with fewer of them.
 */
export function isStallShared(state: PrimaryState, nowMs: number): boolean {
  if (state.ownDisk.sync.forMs < SLOW_SYNC_MS / 2) return false;
  return othersInSync(state).every((identity) => {
    const member = memberOf(state, identity);
    return member !== undefined && owesSyncMs(state, member, nowMs) >= SLOW_SYNC_MS / 2;
  });
}

/** Whether another member is to lead: all that are left are well, have been for a while, and are as many as writes need. */
export function mustHandOver(state: PrimaryState, nowMs: number): boolean {
  if (stalledForMs(state) === 0 || nowMs < state.patientUntilMs) return false;
  const others = othersInSync(state);
  if (others.length < Math.max(1, state.group.minInSync)) return false;
  const areWell = others.every((identity) => isWell(state, memberOf(state, identity), nowMs));
  // What holds up all of them may be over; this disk is to have the time to go on as theirs do.
  if (!areWell) state.nextHandOverMs = nowMs + HAND_OVER_RETRY_MS;
  return areWell && nowMs >= state.nextHandOverMs;
}

/** It is in reach, and has done what was asked of it. */
function isWell(state: PrimaryState, member: Member | undefined, nowMs: number): boolean {
  if (member?.linkUp !== true || member.full || member.low) return false;
  if (isMute(state)) return true;
  const owesAckMs = arrearsMs(state, nowMs, (mark) => member.ackedIndex < mark.appendedIndex);
  const isHeard = nowMs - member.lastHeardMs < SLOW_MS;
  return isHeard && owesAckMs < SLOW_MS && owesSyncMs(state, member, nowMs) < SLOW_SYNC_MS;
}

/**
 * The process that led before and was not fenced, but is not in the set any more: it has handed the group over.
 * @param before who was primary, as far as was known here
 */
export function whoHandedOver(
  before: string,
  group: PortalGroupState,
  nodes: readonly ReplicationNode[],
  granted: readonly MemberIdentity[],
): MemberIdentity | undefined {
  const node = nodes.find(({ nodeId }) => nodeId === before);
  if (node?.status !== 'up' || !group.replicas.includes(before)) return undefined;
  const isSameProcess = granted.some((g) => g.nodeId === before && g.incarnation === node.incarnation);
  return isSameProcess && !isInSync(group, node) ? node : undefined;
}
