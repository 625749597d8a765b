import { isInSync } from './group-state.ts';
import {
  CATCH_UP_BURST_MS,
  CATCH_UP_GAP_CHECK_MS,
  CATCH_UP_METER_MS,
  CATCH_UP_MIN_BYTES_PER_SECOND,
  CATCH_UP_SYNC_BYTES,
  JOIN_DISTANCE_RECORDS,
} from './limits.ts';
import {
  type CatchUpMeter,
  type CatchUpPace,
  durableEverywhere,
  type Member,
  type PrimaryState,
  requiredMembers,
} from './primary-state.ts';

export function newPace(nowMs: number): CatchUpPace {
  return {
    bytesPerSecond: CATCH_UP_MIN_BYTES_PER_SECOND,
    floorBytesPerSecond: CATCH_UP_MIN_BYTES_PER_SECOND,
    allowanceBytes: 0,
    refilledMs: nowMs,
    appendedIndex: 0,
    gapCheckedMs: nowMs,
    gapRecords: Number.POSITIVE_INFINITY,
  };
}

export function newMeter(nowMs: number): CatchUpMeter {
  return {
    sinceMs: nowMs,
    beganIndex: undefined,
    sinceIndex: 0,
    sinceBytes: 0,
    sentBytes: 0,
    recordsPerSecond: 0,
    bytesPerSecond: 0,
  };
}

/** Nobody waits for it yet, and it is still far from the end. */
export function isCatchingUp(state: PrimaryState, member: Member): boolean {
  const nearRecords = state.core.nearRecords ?? JOIN_DISTANCE_RECORDS;
  const isNear = member.nextToSend + nearRecords >= state.core.log.appendedIndex;
  return !isNear && !isAwaited(state, member);
}

/** Whether its word is needed: it is in the set, or on its way into it. */
function isAwaited(state: PrimaryState, member: Member): boolean {
  return isInSync(state.group, member) || requiredMembers(state).some((m) => m.nodeId === member.nodeId);
}

/**
 * Up to where a member is to have the log durably, as a message tells it that ends before `endIndex`. One that nobody waits
 * for and that lacks more is not to wait for its disk with each of them.
 * @param wanted of those that are waited for
 */
export function syncIndexFor(state: PrimaryState, member: Member, endIndex: number, wanted: number): number {
  if (endIndex >= state.core.log.appendedIndex || isAwaited(state, member)) return wanted;
  return member.durableTarget;
}

export function noteDurableTarget(member: Member, sentUntil: number, lengthBytes: number): void {
  member.sentSinceTargetBytes += lengthBytes;
  if (member.sentSinceTargetBytes < CATCH_UP_SYNC_BYTES) return;
  member.durableTarget = sentUntil;
  member.sentSinceTargetBytes = 0;
}

/** Whether it may be sent to now, beside what clients need. */
export function hasAllowance({ pace }: PrimaryState): boolean {
  return pace.allowanceBytes > 0;
}

export function noteSent({ pace }: PrimaryState, { meter }: Member, lengthBytes: number): void {
  pace.allowanceBytes -= lengthBytes;
  meter.sentBytes += lengthBytes;
}

/**
 * At each tick: clients come first. When a write has waited for more than a tick, the pace is halved; while they
 * write and none waits it rises slowly, and fast while they don't. But it rises above all of that as long as those that
 * catch up are not getting nearer. Never above what an administrator has set.
 */
export function adaptPace(state: PrimaryState, nowMs: number): void {
  const { pace } = state;
  const { log } = state.core;
  const isBusy = log.nextIndex > pace.appendedIndex;
  const isLagging = log.commitIndex < pace.appendedIndex;
  pace.appendedIndex = log.appendedIndex;
  checkGap(state, nowMs);
  const wanted = pace.bytesPerSecond * (isLagging ? 0.5 : isBusy ? 1.1 : 2);
  pace.bytesPerSecond = Math.min(
    state.core.catchUpBytesPerSecond,
    Math.max(pace.floorBytesPerSecond, wanted),
  );
  const refillBytes = (pace.bytesPerSecond * (nowMs - pace.refilledMs)) / 1_000;
  const burstBytes = (pace.bytesPerSecond * CATCH_UP_BURST_MS) / 1_000;
  pace.refilledMs = nowMs;
  pace.allowanceBytes = Math.min(burstBytes, pace.allowanceBytes + refillBytes);
  for (const member of state.members.values()) {
    noteBeginning(member, isInSync(state.group, member));
    takeSpeed(member, nowMs);
  }
}

function checkGap(state: PrimaryState, nowMs: number): void {
  const { pace } = state;
  if (nowMs - pace.gapCheckedMs < CATCH_UP_GAP_CHECK_MS) return;
  let gapRecords = 0;
  for (const member of state.members.values()) {
    // One that may not come back yet need not come nearer, and clients are not to make room for it.
    const mayReturn = nowMs >= member.promptness.returnMs;
    const isFollowed =
      mayReturn && member.linkUp && member.mode === 'streaming' && isCatchingUp(state, member);
    if (isFollowed) gapRecords = Math.max(gapRecords, state.core.log.appendedIndex - member.ackedIndex);
  }
  const isNearer = gapRecords < pace.gapRecords;
  pace.floorBytesPerSecond = Math.min(
    state.core.catchUpBytesPerSecond,
    Math.max(CATCH_UP_MIN_BYTES_PER_SECOND, pace.floorBytesPerSecond * (isNearer ? 0.5 : 2)),
  );
  pace.gapCheckedMs = nowMs;
  pace.gapRecords = gapRecords === 0 ? Number.POSITIVE_INFINITY : gapRecords;
}

function noteBeginning({ meter, ackedIndex }: Member, isThere: boolean): void {
  if (isThere) meter.beganIndex = undefined;
  else if (ackedIndex > 0) meter.beganIndex = Math.min(meter.beganIndex ?? ackedIndex, ackedIndex);
}

function takeSpeed({ meter, ackedIndex }: Member, nowMs: number): void {
  const elapsedMs = nowMs - meter.sinceMs;
  if (elapsedMs < CATCH_UP_METER_MS) return;
  // The first look after a beginning only says where that was.
  const records = meter.sinceIndex === 0 ? 0 : Math.max(0, ackedIndex - meter.sinceIndex);
  meter.recordsPerSecond = (records * 1_000) / elapsedMs;
  meter.bytesPerSecond = ((meter.sentBytes - meter.sinceBytes) * 1_000) / elapsedMs;
  meter.sinceMs = nowMs;
  meter.sinceIndex = ackedIndex;
  meter.sinceBytes = meter.sentBytes;
}

/**
 * Records below this, of which nothing is in use, need not be sent to the member: what superseded them is on stable
 * storage of all whose word counts, so no loss of power can make them count again. The member joins only when it has
 * that as well, durably, since it is committed.
 * @returns 0 when everything must be sent
 */
export function elideBelow(state: PrimaryState, member: Member): number {
  if (state.phase !== 'serving' || !member.takesVoids) return 0;
  return isCatchingUp(state, member) ? Math.min(state.core.log.commitIndex, durableEverywhere(state)) : 0;
}
