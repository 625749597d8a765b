import { newMeter } from './catch-up.ts';
import type { LinkState, ReplicaEffect } from './core.ts';
import { sameMember } from './group-state.ts';
import { SLOW_WINDOW_BYTES, WINDOW_BYTES } from './limits.ts';
import type { Member, PrimaryState } from './primary-state.ts';
import { newPromptness, putOff } from './promptness.ts';

export function addMember(state: PrimaryState, nodeId: string, link: LinkState, nowMs: number): Member {
  const member: Member = {
    nodeId,
    incarnation: link.incarnation,
    linkUp: true,
    linkSinceMs: nowMs,
    mode: 'probing',
    nextToSend: 0,
    ackedIndex: 0,
    progressMs: nowMs,
    durableIndex: 0,
    durableProgressMs: nowMs,
    leaseUntilMs: Number.NEGATIVE_INFINITY,
    lastHeardMs: nowMs,
    lastSentMs: Number.NEGATIVE_INFINITY,
    busy: false,
    inFlight: [],
    inFlightBytes: 0,
    windowBytes: WINDOW_BYTES,
    durableTarget: 0,
    sentSinceTargetBytes: 0,
    imagesReady: false,
    full: false,
    low: false,
    filling: false,
    takesVoids: false,
    meter: newMeter(nowMs),
    promptness: newPromptness(nowMs),
  };
  // It stays out for a while, as one that is slow: its disk may take nothing again.
  if (state.handedOverBy !== undefined && sameMember(state.handedOverBy, member)) {
    member.promptness.hasStalled = true;
    putOff(member.promptness, nowMs);
    member.windowBytes = SLOW_WINDOW_BYTES;
  }
  state.members.set(nodeId, member);
  return member;
}

/** Replicas come and go with the epoch; links were there before, or stay. */
export function followReplicas(state: PrimaryState, nowMs: number): void {
  const { core, group, members } = state;
  for (const nodeId of members.keys()) if (!group.replicas.includes(nodeId)) members.delete(nodeId);
  for (const nodeId of group.replicas) {
    const link = core.links.get(nodeId);
    if (nodeId === core.self.nodeId || link?.up !== true || members.has(nodeId)) continue;
    addMember(state, nodeId, link, nowMs);
  }
}

/** What was on its way may have been lost: ask where the member stands. */
export function probe(member: Member): void {
  member.mode = 'probing';
  member.inFlight = [];
  member.inFlightBytes = 0;
  member.durableTarget = 0;
  member.sentSinceTargetBytes = 0;
}

/**
 * Not before the cluster has put its earlier process out of the set: until then its copy may be one to go on from, should
 * this one turn out to be damaged. It is asked again with the next heartbeat.
 */
export function startOver({ group }: PrimaryState, { nodeId, incarnation }: Member): ReplicaEffect[] {
  const isCounted = group.inSync.some((m) => m.nodeId === nodeId && m.incarnation !== incarnation);
  return isCounted ? [] : [{ kind: 'sendReset', to: nodeId }];
}
