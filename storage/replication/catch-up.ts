import { isInSync } from './group-state.ts';
import { CATCH_UP_METER_MS, CATCH_UP_SYNC_BYTES, JOIN_DISTANCE_RECORDS } from './limits.ts';
import { CLIENTS, type Clients } from './pace-lane.ts';
import {
  type CatchUpMeter,
  durableEverywhere,
  type Member,
  type PrimaryState,
  requiredMembers,
} from './primary-state.ts';

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

/** Whether those that catch up may be sent to now, beside what clients need. */
export function hasAllowance({ core }: PrimaryState): boolean {
  return core.pace.sending.isOpen;
}

export function noteSent({ core }: PrimaryState, { meter }: Member, lengthBytes: number): void {
  core.pace.sending.use(lengthBytes);
  meter.sentBytes += lengthBytes;
}

/** At each tick: tells the node how its clients fare, and how far behind copies are, by which it paces what is sent to them. */
export function followPace(state: PrimaryState, nowMs: number): void {
  const { core } = state;
  const clients = howClientsFare(state);
  state.pacedIndex = core.log.appendedIndex;
  const gapRecords = gapOf(state, nowMs);
  if (gapRecords === undefined) core.pace.sending.rest();
  else core.pace.sending.follow(gapRecords, nowMs);
  core.pace.taking.rest();
  core.pace.tick(clients, core.catchUpBytesPerSecond, nowMs);
  for (const member of state.members.values()) {
    noteBeginning(member, isInSync(state.group, member));
    takeSpeed(member, nowMs);
  }
}

function howClientsFare({ core: { log }, pacedIndex }: PrimaryState): Clients {
  if (log.commitIndex < pacedIndex) return CLIENTS.wait;
  return log.nextIndex > pacedIndex ? CLIENTS.write : CLIENTS.idle;
}

/** What the last of those lacks that catch up, of those that are to come nearer; undefined: nobody catches up. */
function gapOf(state: PrimaryState, nowMs: number): number | undefined {
  let gapRecords: number | undefined;
  for (const member of state.members.values()) {
    const { linkUp, mode, promptness, ackedIndex } = member;
    if (!linkUp || mode !== 'streaming' || !isCatchingUp(state, member)) continue;
    // One that may not come back yet need not come nearer, and clients are not to make room for it.
    const own = nowMs >= promptness.returnMs ? state.core.log.appendedIndex - ackedIndex : 0;
    gapRecords = Math.max(gapRecords ?? 0, own);
  }
  return gapRecords;
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
