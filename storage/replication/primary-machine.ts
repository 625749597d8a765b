import {
  elideBelow,
  followPace,
  hasAllowance,
  isCatchingUp,
  noteDurableTarget,
  noteSent,
} from './catch-up.ts';
import { persistEffect, type ReplicaCore, type ReplicaEffect, type ReplicaEvent } from './core.ts';
import { divergenceIndex, epochsBefore, isFromBeforeLoss, withEpoch } from './epoch-table.ts';
import type { AckFrame, PositionFrame, PrimaryFrame } from './frame.ts';
import { boundUntilMs, withoutGrant } from './grants.ts';
import type { MemberIdentity, PortalGroupState, ReplicationNode } from './group-state.ts';
import { FULL_RETRY_MS, JOIN_RETRY_MS, MAX_APPEND_BYTES, PROMOTION_GRACE_MS } from './limits.ts';
import { addMember, followReplicas, probe, startOver } from './members.ts';
import { newOwnDisk, probeIndex, watchOwnDisk } from './own-disk.ts';
import { appendFrame, commonFields, heartbeat, heartbeats } from './primary-frames.ts';
import { noteLease, onProposed, proposeChanges } from './primary-membership.ts';
import { leaseUntilMs, type Member, memberOf, type PrimaryState, requiredMembers } from './primary-state.ts';
import { markProgress, noteOwnPauses, noteProgress } from './progress.ts';
import { newPromptness } from './promptness.ts';
import { noteSetChanged, watchPromptness } from './slow-members.ts';

/** Takes office: records the epoch, then appends the record that begins it, and turns to the others. */
export function takeOffice(
  core: ReplicaCore,
  given: {
    group: PortalGroupState;
    nodes: readonly ReplicationNode[];
    appliedIndex: number;
    handedOverBy?: MemberIdentity | undefined;
  },
  nowMs: number,
): { state: PrimaryState; effects: ReplicaEffect[] } {
  const state: PrimaryState = {
    core,
    group: given.group,
    nodes: given.nodes,
    reign: given.group.epoch,
    epochStartIndex: core.log.nextIndex,
    phase: 'aligning',
    patientUntilMs: nowMs + PROMOTION_GRACE_MS,
    members: new Map(),
    syncIndex: 0,
    marks: [],
    ownPauses: 0,
    leaseHeldUntilMs: nowMs,
    lastTickMs: nowMs,
    proposal: undefined,
    proposedMs: 0,
    nextProposalMs: 0,
    joining: undefined,
    nextJoinMs: 0,
    beginAgainMs: undefined,
    pacedIndex: 0,
    promptness: newPromptness(nowMs),
    ownDisk: newOwnDisk(),
    nextHandOverMs: 0,
    handedOverBy: given.handedOverBy,
    isAnySlow: false,
    appliedIndex: given.appliedIndex,
  };
  core.unreleasedReign = state.reign;
  const effects = beginEpoch(state);
  followReplicas(state, nowMs);
  return { state, effects: [...effects, ...heartbeats(state, nowMs)] };
}

function beginEpoch(state: PrimaryState): ReplicaEffect[] {
  const { core } = state;
  const { log } = core;
  state.epochStartIndex = log.nextIndex;
  state.beginAgainMs = undefined;
  log.epochs = withEpoch(log.epochs, { epoch: state.reign, startIndex: log.nextIndex });
  log.nextIndex++;
  return [
    persistEffect(core),
    { kind: 'beginEpoch', epoch: state.reign, cut: log.cut, index: state.epochStartIndex },
  ];
}

/** Changes `state` and says what to do; `nowMs` is monotonic. */
export function stepPrimary(state: PrimaryState, event: ReplicaEvent, nowMs: number): ReplicaEffect[] {
  const effects = onEvent(state, event, nowMs);
  effects.push(...advance(state, nowMs));
  return effects;
}

function onEvent(state: PrimaryState, event: ReplicaEvent, nowMs: number): ReplicaEffect[] {
  const { log } = state.core;
  switch (event.kind) {
    case 'state':
      return onState(state, event, nowMs);
    case 'link':
      return onLink(state, event.peer, event.up, nowMs);
    case 'frame': {
      const { frame } = event;
      const member = memberOf(state, event.from);
      if (member === undefined) return [];
      if (frame.kind === 'ack') return onAck(state, member, frame, nowMs);
      if (frame.kind === 'position') return onPosition(state, member, frame, nowMs);
      if (frame.kind === 'reject') return onReject(state, member, frame.epoch, nowMs);
      return [];
    }
    case 'assigned':
      log.nextIndex = event.nextIndex;
      return [];
    case 'appended':
      if (event.cut === log.cut) log.appendedIndex = event.appendedIndex;
      return [];
    case 'appendFailed':
      if (event.cut === log.cut) onAppendFailed(state, event.appendedIndex, nowMs);
      return [];
    case 'synced':
      if (event.cut === log.cut) log.durableIndex = Math.max(log.durableIndex, event.durableIndex);
      return [];
    case 'streamed':
      return onStreamed(state, event, nowMs);
    case 'proposed':
      onProposed(state, event, nowMs);
      return [];
    case 'imagesReady':
      state.core.imagesReady = event.ready;
      return [];
    case 'room':
      state.core.room = event.room;
      return [];
    case 'wantSync':
      return onWantSync(state, event.index, nowMs);
    case 'trimmed':
      log.baseIndex = event.baseIndex;
      return [];
    // An earlier office of this process: by now there is another.
    case 'letGone':
    case 'ended':
    case 'applied':
    case 'trimming':
      return [];
    case 'tick':
      return onTick(state, nowMs);
  }
}

function onState(
  state: PrimaryState,
  event: Extract<ReplicaEvent, { kind: 'state' }>,
  nowMs: number,
): ReplicaEffect[] {
  const { core } = state;
  const risen = event.group.epoch > state.group.epoch;
  // One that was just put out is not let in again at once.
  if (event.group.inSync.length < state.group.inSync.length) state.nextJoinMs = nowMs + JOIN_RETRY_MS;
  const before = state.group;
  state.group = event.group;
  state.nodes = event.nodes;
  const newLease = core.leaseMs !== event.leaseMs;
  core.leaseMs = event.leaseMs;
  if (!risen) return [];
  noteSetChanged(state, before, nowMs);
  followReplicas(state, nowMs);
  core.epoch = event.group.epoch;
  core.primary = core.self.nodeId;
  // Whatever was proposed at the old epoch has been decided by now.
  state.proposal = undefined;
  state.nextProposalMs = 0;
  state.joining = undefined;
  state.leaseHeldUntilMs = Math.max(state.leaseHeldUntilMs, nowMs);
  for (const member of state.members.values()) member.lastSentMs = Number.NEGATIVE_INFINITY;
  return newLease || risen ? [persistEffect(core), ...heartbeats(state, nowMs)] : [];
}

function onLink(state: PrimaryState, peer: MemberIdentity, up: boolean, nowMs: number): ReplicaEffect[] {
  const known = memberOf(state, peer);
  if (!up) {
    if (known === undefined) return [];
    known.linkUp = false;
    known.linkSinceMs = nowMs;
    known.busy = false;
    return [];
  }
  if (!state.group.replicas.includes(peer.nodeId)) return [];
  if (known === undefined) {
    const link = { incarnation: peer.incarnation, up, sinceMs: nowMs };
    return [heartbeat(state, addMember(state, peer.nodeId, link, nowMs), nowMs)];
  }
  known.linkUp = true;
  known.busy = false;
  known.linkSinceMs = nowMs;
  known.lastHeardMs = nowMs;
  probe(known);
  return [heartbeat(state, known, nowMs)];
}

/** Answers to this reign only: what is said of the time before it must not be an earlier reign's. */
function hearFrom(
  { core }: PrimaryState,
  member: Member,
  frame: AckFrame | PositionFrame,
  nowMs: number,
): void {
  member.lastHeardMs = nowMs;
  member.leaseUntilMs = Math.max(member.leaseUntilMs, frame.echoMs + frame.leaseMs);
  member.imagesReady = frame.imagesReady;
  member.full = frame.full;
  member.low = frame.low;
  member.filling = frame.filling;
  member.takesVoids = frame.takesVoids;
  // What we granted was granted before this reign, and that process gives it back.
  if (frame.released) core.grants = withoutGrant(core.grants, member);
}

function onAck(state: PrimaryState, member: Member, frame: AckFrame, nowMs: number): ReplicaEffect[] {
  if (frame.reign !== state.reign) return [];
  hearFrom(state, member, frame, nowMs);
  const { appendedIndex } = state.core.log;
  if (frame.nextIndex > appendedIndex) {
    const fields = { member: member.nodeId, acked: frame.nextIndex, appended: appendedIndex };
    return [{ kind: 'complain', event: 'replication.ack-past-end', fields }];
  }
  noteProgress(member, frame, nowMs);
  if (member.mode === 'probing' && !frame.full) {
    member.mode = 'streaming';
    member.nextToSend = frame.nextIndex;
  }
  while (member.inFlight[0] !== undefined && member.inFlight[0].endIndex <= member.ackedIndex) {
    member.inFlightBytes -= (member.inFlight.shift() as { lengthBytes: number }).lengthBytes;
  }
  // Nothing is sent to one without space; its next heartbeats ask again.
  if (frame.full) probe(member);
  return pump(state, member);
}

function onPosition(
  state: PrimaryState,
  member: Member,
  frame: PositionFrame,
  nowMs: number,
): ReplicaEffect[] {
  if (frame.reign !== state.reign) return [];
  hearFrom(state, member, frame, nowMs);
  const { log } = state.core;
  const agreed = divergenceIndex(
    { epochs: log.epochs, nextIndex: log.appendedIndex },
    { epochs: frame.epochs, nextIndex: frame.nextIndex },
  );
  probe(member);
  member.lastSentMs = nowMs;
  if (agreed < log.baseIndex || isFromBeforeLoss(state.group, frame.epochs)) return startOver(state, member);
  if (agreed < frame.nextIndex) {
    const truncate: PrimaryFrame = { kind: 'truncate', ...commonFields(state, nowMs), fromIndex: agreed };
    return [{ kind: 'send', to: member.nodeId, frame: truncate }];
  }
  // What was on its way when its space ran out is answered by its position, for each message of it.
  if (frame.full) return [];
  member.mode = 'streaming';
  member.nextToSend = agreed;
  if (agreed < log.appendedIndex) return pump(state, member);
  // Nothing to send, but the member has yet to see for itself that its log is ours.
  return [
    {
      kind: 'send',
      to: member.nodeId,
      frame: appendFrame(state, member, { firstIndex: agreed, records: [] }, nowMs),
    },
  ];
}

/** It knows a higher epoch in which we are primary, as we do by now or shall soon. */
function onReject(state: PrimaryState, member: Member, epoch: number, nowMs: number): ReplicaEffect[] {
  member.lastHeardMs = nowMs;
  probe(member);
  return epoch <= state.core.epoch ? [heartbeat(state, member, nowMs)] : [];
}

function onAppendFailed(state: PrimaryState, appendedIndex: number, nowMs: number): void {
  const { log } = state.core;
  // What still waits among the effects to be appended must not take the places of what failed.
  log.cut++;
  log.appendedIndex = appendedIndex;
  log.nextIndex = appendedIndex;
  log.epochs = epochsBefore(log.epochs, appendedIndex);
  if (appendedIndex <= state.epochStartIndex) state.beginAgainMs = nowMs + FULL_RETRY_MS;
}

function pump(state: PrimaryState, member: Member): ReplicaEffect[] {
  const { log } = state.core;
  const mayStream =
    member.linkUp &&
    member.mode === 'streaming' &&
    !member.busy &&
    member.nextToSend < log.appendedIndex &&
    member.inFlightBytes < member.windowBytes;
  if (!mayStream) return [];
  if (member.nextToSend < log.baseIndex) {
    // What it lacks has been let go of meanwhile.
    probe(member);
    return startOver(state, member);
  }
  if (isCatchingUp(state, member) && !hasAllowance(state)) return [];
  member.busy = true;
  const { nodeId, incarnation, nextToSend } = member;
  const to = { nodeId, incarnation };
  const elide = elideBelow(state, member);
  return [{ kind: 'stream', to, fromIndex: nextToSend, maxBytes: MAX_APPEND_BYTES, elideBelow: elide }];
}

function onStreamed(
  state: PrimaryState,
  event: Extract<ReplicaEvent, { kind: 'streamed' }>,
  nowMs: number,
): ReplicaEffect[] {
  const member = memberOf(state, event.to);
  if (member === undefined) return [];
  member.busy = false;
  if (event.sent === undefined) {
    probe(member);
    return [];
  }
  member.lastSentMs = nowMs;
  if (member.mode === 'streaming' && member.nextToSend === event.fromIndex) {
    const { nextIndex, lengthBytes } = event.sent;
    if (isCatchingUp(state, member)) noteSent(state, member, lengthBytes);
    member.nextToSend = nextIndex;
    member.inFlight.push({ endIndex: nextIndex, lengthBytes });
    member.inFlightBytes += lengthBytes;
    noteDurableTarget(member, nextIndex, lengthBytes);
  }
  return pump(state, member);
}

function onWantSync(state: PrimaryState, index: number, nowMs: number): ReplicaEffect[] {
  if (index <= state.syncIndex) return [];
  state.syncIndex = index;
  const effects: ReplicaEffect[] = [];
  for (const member of state.members.values()) {
    // One that still lacks records hears of it with these.
    const hasAll = member.nextToSend >= index && member.durableIndex < index;
    if (member.linkUp && hasAll) effects.push(heartbeat(state, member, nowMs));
  }
  return effects;
}

function onTick(state: PrimaryState, nowMs: number): ReplicaEffect[] {
  const elapsedMs = nowMs - state.lastTickMs;
  state.lastTickMs = nowMs;
  noteOwnPauses(state, elapsedMs, nowMs);
  markProgress(state, nowMs);
  watchOwnDisk(state, elapsedMs, nowMs);
  watchPromptness(state, elapsedMs, nowMs);
  followPace(state, nowMs);
  const effects = onWantSync(state, probeIndex(state) ?? 0, nowMs);
  effects.push(...heartbeats(state, nowMs));
  if (state.beginAgainMs !== undefined && nowMs >= state.beginAgainMs) effects.push(...beginEpoch(state));
  return effects;
}

/** What follows from the present state, whatever the event was. */
function advance(state: PrimaryState, nowMs: number): ReplicaEffect[] {
  const effects: ReplicaEffect[] = [];
  const { log } = state.core;
  const syncTo = state.group.durability === 'durable' ? log.appendedIndex : state.syncIndex;
  const index = Math.min(syncTo, log.appendedIndex);
  if (index > log.durableIndex) effects.push({ kind: 'sync', index });
  for (const member of state.members.values()) effects.push(...pump(state, member));
  const reach = commitReach(state);
  if (reach > log.commitIndex) {
    log.commitIndex = reach;
    effects.push({ kind: 'commit' });
  }
  if (state.phase === 'aligning' && mayServe(state, nowMs)) state.phase = 'serving';
  noteLease(state, nowMs);
  effects.push(...proposeChanges(state, nowMs));
  return effects;
}

/** How far all whose word is needed have the log. */
function commitReach(state: PrimaryState): number {
  const { log, faults } = state.core;
  const durable = state.group.durability === 'durable';
  let reach = durable ? log.durableIndex : log.appendedIndex;
  for (const identity of faults.acknowledgeBeforeAllHaveIt === true ? [] : requiredMembers(state)) {
    const member = memberOf(state, identity);
    reach = Math.min(reach, (durable ? member?.durableIndex : member?.ackedIndex) ?? 0);
  }
  if (state.group.inSync.length < state.group.minInSync) {
    // Writes stall, but what was there when office was taken may be read.
    reach = Math.min(reach, Math.max(log.commitIndex, state.epochStartIndex + 1));
  }
  return reach;
}

function mayServe(state: PrimaryState, nowMs: number): boolean {
  const { core } = state;
  return (
    core.log.commitIndex > state.epochStartIndex &&
    state.appliedIndex > state.epochStartIndex &&
    (nowMs >= boundUntilMs(core.grants) || core.faults.skipLeaseWait === true) &&
    nowMs < leaseUntilMs(state)
  );
}
