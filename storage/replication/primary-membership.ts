import type { MembershipChange, ReplicaEffect, ReplicaEvent, ShrinkReason } from './core.ts';
import {
  ARREARS_MAX_MS,
  HAND_OVER_RETRY_MS,
  HEARTBEAT_MS,
  JOIN_DISTANCE_RECORDS,
  JOIN_MS,
  JOIN_RETRY_MS,
  LEASE_LAPSED_MS,
  LINK_GRACE_MS,
  PROPOSAL_RETRY_MS,
  PROPOSAL_TIMEOUT_MS,
  PROPOSAL_VISIBLE_MS,
  SLOW_MS,
  SLOW_SYNC_MS,
} from './limits.ts';
import { isMute, isStallShared, mustHandOver, owesSyncMs } from './own-disk.ts';
import {
  isCandidate,
  type Joining,
  type Member,
  memberOf,
  othersInSync,
  type PrimaryState,
} from './primary-state.ts';
import { arrearsMs } from './progress.ts';
import { lowMemberToSpare } from './room.ts';
import { mayReturn, slowMemberToSpare } from './slow-members.ts';

/** Asks for the change of the in-sync set that is most needed, one at a time. */
export function proposeChanges(state: PrimaryState, nowMs: number): ReplicaEffect[] {
  settleJoining(state, nowMs);
  const { proposal } = state;
  if (proposal !== undefined && nowMs - state.proposedMs >= PROPOSAL_TIMEOUT_MS) {
    onProposed(state, { kind: 'proposed', change: proposal, outcome: 'unknown' }, nowMs);
  }
  if (state.proposal !== undefined || nowMs < state.nextProposalMs) return [];
  const shrink = shrinkNeeded(state, nowMs);
  const change = shrink?.change ?? joiningReady(state, nowMs);
  if (change === undefined) return [];
  if (change.kind === 'expand' && state.joining !== undefined) state.joining.proposed = true;
  state.proposal = change;
  state.proposedMs = nowMs;
  return [{ kind: 'propose', change, reason: shrink?.reason }];
}

function shrinkNeeded(
  state: PrimaryState,
  nowMs: number,
): { readonly change: MembershipChange; readonly reason: ShrinkReason } | undefined {
  const { epoch } = state.group;
  const failed = othersInSync(state).find((identity) => {
    const member = memberOf(state, identity);
    if (member === undefined)
      return nowMs >= state.patientUntilMs || linkSaysGone(state, identity.nodeId, nowMs);
    return hasFailed(state, member, nowMs);
  });
  const shrink = (remove: string, reason: ShrinkReason) => ({
    change: { kind: 'shrink', epoch, remove } as const,
    reason,
  });
  if (failed !== undefined) return shrink(failed.nodeId, 'failed');
  const late = holderUp(state, nowMs);
  if (late !== undefined) return shrink(late, 'late-answers');
  if (mustHandOver(state, nowMs)) {
    state.nextHandOverMs = nowMs + HAND_OVER_RETRY_MS;
    return { change: { kind: 'handOver', epoch }, reason: 'own-disk' };
  }
  const low = lowMemberToSpare(state);
  if (low !== undefined) return shrink(low, 'no-room');
  const slow = slowMemberToSpare(state, nowMs);
  return slow === undefined ? undefined : shrink(slow, 'slow');
}

/** Its node is connected as another process, or not at all for long enough. */
function linkSaysGone(state: PrimaryState, nodeId: string, nowMs: number): boolean {
  const link = state.core.links.get(nodeId);
  return link !== undefined && (link.up || nowMs - link.sinceMs >= LINK_GRACE_MS);
}

function hasFailed(state: PrimaryState, member: Member, nowMs: number): boolean {
  if (!member.linkUp) return nowMs - member.linkSinceMs >= LINK_GRACE_MS;
  if (member.full) return true;
  if (nowMs < state.patientUntilMs || isMute(state)) return false;
  if (nowMs - member.lastHeardMs >= SLOW_MS) return true;
  const durable = state.group.durability === 'durable';
  const owesAckMs = arrearsMs(state, nowMs, (mark) => member.ackedIndex < mark.appendedIndex);
  const syncMs = owesSyncMs(state, member, nowMs);
  const failsToSync = isOverdue(syncMs, nowMs - member.durableProgressMs, SLOW_SYNC_MS);
  // In durable mode acknowledgements wait for the disk.
  const failsToAck = isOverdue(owesAckMs, nowMs - member.progressMs, durable ? SLOW_SYNC_MS : SLOW_MS);
  if (failsToAck && !durable) return true;
  return (failsToAck || failsToSync) && !isStallShared(state, nowMs);
}

/** Until when those in the set, without one that joins, let this one serve; Infinity for a set of one. */
function grantedUntilMs(state: PrimaryState): number {
  let untilMs = Number.POSITIVE_INFINITY;
  for (const identity of othersInSync(state)) {
    untilMs = Math.min(untilMs, memberOf(state, identity)?.leaseUntilMs ?? Number.NEGATIVE_INFINITY);
  }
  return untilMs;
}

/** A grant that comes when it has run out says nothing: the lease does not hold by it for a moment. */
export function noteLease(state: PrimaryState, nowMs: number): void {
  const untilMs = grantedUntilMs(state);
  if (untilMs <= nowMs) return;
  state.leaseHeldUntilMs = Math.max(state.leaseHeldUntilMs, Math.min(untilMs, nowMs + state.core.leaseMs));
}

/**
 * Over a slow link that is kept full, answers are steady and old; from several members, they may be fresh by turns.
 * @returns the one whose grant is the oldest, where nothing could be served for too long
 */
function holderUp(state: PrimaryState, nowMs: number): string | undefined {
  const isLapsed =
    state.phase === 'serving' && !isMute(state) && nowMs - state.leaseHeldUntilMs >= LEASE_LAPSED_MS;
  if (!isLapsed || nowMs < state.patientUntilMs) return undefined;
  const oldestMs = grantedUntilMs(state);
  return othersInSync(state).find((identity) => memberOf(state, identity)?.leaseUntilMs === oldestMs)?.nodeId;
}

/**
 * Under load a healthy member has as much to catch up with as may be in flight, on a shared link for seconds.
 * So arrears tell of failure only where nothing moves, or where they would hold writes up for too long.
 */
function isOverdue(arrearsMs: number, standstillMs: number, slowMs: number): boolean {
  return arrearsMs >= ARREARS_MAX_MS || Math.min(arrearsMs, standstillMs) >= slowMs;
}

/** From here on the candidate's word is needed too; only then may its joining be proposed. */
function startJoining(state: PrimaryState, nowMs: number): void {
  if (state.joining !== undefined || state.phase !== 'serving' || nowMs < state.nextJoinMs) return;
  for (const member of state.members.values()) {
    if (!isCandidate(state, member) || !isFitToJoin(state, member, nowMs)) continue;
    const durableIndex = state.core.log.commitIndex;
    const { nodeId, incarnation } = member;
    state.joining = { nodeId, incarnation, sinceMs: nowMs, durableIndex, proposed: false, uncertain: false };
    state.syncIndex = Math.max(state.syncIndex, durableIndex);
    // Its next heartbeat, which is due now, tells it to sync.
    member.lastSentMs = Number.NEGATIVE_INFINITY;
    return;
  }
}

function isFitToJoin(state: PrimaryState, member: Member, nowMs: number): boolean {
  return (
    member.linkUp &&
    member.mode === 'streaming' &&
    member.imagesReady &&
    !member.full &&
    !member.low &&
    mayReturn(state, member, nowMs) &&
    member.ackedIndex > state.epochStartIndex &&
    member.ackedIndex + JOIN_DISTANCE_RECORDS >= slowestInSync(state) &&
    isKeepingUp(state, member, nowMs) &&
    // Our lease now depends on it as well, so it had better be fresh.
    member.leaseUntilMs > nowMs + 2 * HEARTBEAT_MS
  );
}

/**
 * Near is not enough: one that stays behind by a little would only hold up writes. But it need not be ahead of
 * those in the set, for whom writes wait in any case.
 */
function isKeepingUp(state: PrimaryState, member: Member, nowMs: number): boolean {
  if (member.ackedIndex >= slowestInSync(state)) return true;
  return arrearsMs(state, nowMs, (mark) => member.ackedIndex < mark.appendedIndex) < HEARTBEAT_MS;
}

/** How far all in the set have the log, this one included, but for those that are out of reach and about to go. */
function slowestInSync(state: PrimaryState): number {
  let index = state.core.log.appendedIndex;
  for (const identity of othersInSync(state)) {
    const member = memberOf(state, identity);
    if (member?.linkUp === true) index = Math.min(index, member.ackedIndex);
  }
  return index;
}

function joiningReady(state: PrimaryState, nowMs: number): MembershipChange | undefined {
  startJoining(state, nowMs);
  return expandReady(state);
}

function expandReady(state: PrimaryState): MembershipChange | undefined {
  const { joining } = state;
  if (joining === undefined) return undefined;
  const { nodeId, incarnation } = joining;
  const change: MembershipChange = {
    kind: 'expand',
    epoch: state.group.epoch,
    add: nodeId,
    incarnation,
  };
  // Only the outcome of what has been asked for ends the wait, so ask again until it is known.
  if (joining.proposed) return change;
  const member = memberOf(state, joining);
  const hasAll =
    member?.linkUp === true &&
    member.ackedIndex >= state.core.log.commitIndex &&
    member.durableIndex >= joining.durableIndex;
  return hasAll ? change : undefined;
}

/** Gives up a joining that was never proposed, or that can no longer take effect. */
function settleJoining(state: PrimaryState, nowMs: number): void {
  const { joining } = state;
  if (joining === undefined) return;
  const void_ = joining.proposed
    ? cannotTakeEffect(state, joining)
    : memberOf(state, joining)?.linkUp !== true || nowMs - joining.sinceMs >= JOIN_MS;
  if (void_) endJoining(state, nowMs);
}

/**
 * At this very epoch the cluster counts that process out: a proposal to add it, applied from now on, is
 * refused, and had it been applied before, the epoch would have risen. A process counted out never returns.
 */
function cannotTakeEffect(state: PrimaryState, joining: Joining): boolean {
  const node = state.nodes.find((n) => n.nodeId === joining.nodeId);
  return node !== undefined && (node.incarnation !== joining.incarnation || node.status === 'fenced');
}

function endJoining(state: PrimaryState, nowMs: number): void {
  state.joining = undefined;
  state.nextJoinMs = nowMs + JOIN_RETRY_MS;
}

export function onProposed(
  state: PrimaryState,
  event: Extract<ReplicaEvent, { kind: 'proposed' }>,
  nowMs: number,
): void {
  // One asked for at an earlier epoch has been overtaken, and can no longer take effect.
  if (state.proposal !== event.change) return;
  state.proposal = undefined;
  state.nextProposalMs = nowMs + (event.outcome === 'applied' ? PROPOSAL_VISIBLE_MS : PROPOSAL_RETRY_MS);
  const { joining } = state;
  if (event.change.kind !== 'expand' || joining === undefined) return;
  if (event.outcome === 'applied' || event.outcome === 'unknown') joining.uncertain = true;
  else if (!joining.uncertain) endJoining(state, nowMs);
}
