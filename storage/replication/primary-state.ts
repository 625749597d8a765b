import type { PeerTransport } from '../../base/peer-transport.ts';
import type { MembershipChange, ReplicaCore } from './core.ts';
import { isInSync, type MemberIdentity, type PortalGroupState, type ReplicationNode } from './group-state.ts';
import type { Promptness } from './promptness.ts';

/** How a member's catching up goes. */
export interface CatchUpMeter {
  /** Where it stood when its log was first known to be ours as far as that; undefined before. */
  beganIndex: number | undefined;
  /** Where it stood, and what it had been sent, when speed was last taken. */
  sinceMs: number;
  sinceIndex: number;
  sinceBytes: number;
  sentBytes: number;
  recordsPerSecond: number;
  bytesPerSecond: number;
}

/** What a primary knows of one other member, for as long as that member's process lives. */
export interface Member {
  readonly nodeId: string;
  readonly incarnation: string;
  linkUp: boolean;
  /** When the link last came or went. */
  linkSinceMs: number;
  /** probing: waiting to hear where its log stands. streaming: its log is ours up to nextToSend at least. */
  mode: 'probing' | 'streaming';
  nextToSend: number;
  /** Its log is ours up to here: true for good within this reign, whatever happens to links. */
  ackedIndex: number;
  /** When ackedIndex last rose. */
  progressMs: number;
  durableIndex: number;
  /** When durableIndex last rose. */
  durableProgressMs: number;
  leaseUntilMs: number;
  lastHeardMs: number;
  lastSentMs: number;
  /** A request to send records has not been answered yet. */
  busy: boolean;
  inFlight: { endIndex: number; lengthBytes: number }[];
  inFlightBytes: number;
  /** What that may be. */
  windowBytes: number;
  /** While nobody waits for it: records below are to be durable there by and by. */
  durableTarget: number;
  /** Sent to it since that was set. */
  sentSinceTargetBytes: number;
  imagesReady: boolean;
  full: boolean;
  /** Only the reserve of its disk is left. */
  low: boolean;
  /** There soon will be no more than that. */
  filling: boolean;
  /** It knows records that stand for superseded ones. */
  takesVoids: boolean;
  readonly meter: CatchUpMeter;
  readonly promptness: Promptness;
}

/** A member on its way into the in-sync set. Until the outcome is known both sets count. */
export interface Joining {
  readonly nodeId: string;
  readonly incarnation: string;
  readonly sinceMs: number;
  /** What may have been acknowledged as flushed before it counted: it must have that durably. */
  readonly durableIndex: number;
  proposed: boolean;
  /** An earlier proposal may still take effect. */
  uncertain: boolean;
}

/** Where the log's ends stood at some tick: what lies below has been outstanding since. */
export interface ProgressMark {
  /** Later than it was, by the pauses of this process since. */
  atMs: number;
  /** Records below had been given their places. */
  readonly nextIndex: number;
  readonly appendedIndex: number;
  /** Of what was appended, records below were to be made durable. */
  readonly syncIndex: number;
}

/** One kind of thing that a disk is asked for, and for how long it has done nothing of it. */
export interface Standstill {
  doneIndex: number;
  /** At the last look, more had been asked for than was done. */
  isOwed: boolean;
  /** In time that this process ran. */
  forMs: number;
}

export interface OwnDisk {
  readonly write: Standstill;
  readonly sync: Standstill;
  /** Of the file that is written before anything is said in an epoch. */
  readonly epoch: Standstill;
}

export interface PrimaryState {
  readonly core: ReplicaCore;
  group: PortalGroupState;
  nodes: readonly ReplicationNode[];
  /** The epoch in which this office was taken; membership changes raise the epoch but not this. */
  readonly reign: number;
  epochStartIndex: number;
  phase: 'aligning' | 'serving';
  /** Silence and arrears before this moment are not held against anyone. */
  patientUntilMs: number;
  readonly members: Map<string, Member>;
  /** Records below are to be made durable everywhere. */
  syncIndex: number;
  marks: ProgressMark[];
  /** Pauses of this process, one after the other, since others could last be judged. */
  ownPauses: number;
  /** Until when the grants of all in the set have last allowed to serve; not before the set last changed. */
  leaseHeldUntilMs: number;
  lastTickMs: number;
  /** Asked for and not answered. */
  proposal: MembershipChange | undefined;
  proposedMs: number;
  nextProposalMs: number;
  joining: Joining | undefined;
  nextJoinMs: number;
  /** No space for the record that begins the epoch: when to try again. */
  beginAgainMs: number | undefined;
  /** Where the log ended at the last tick, for the pace of catching up. */
  pacedIndex: number;
  /** Of this primary itself. */
  readonly promptness: Promptness;
  /** Whether its disk takes anything. */
  readonly ownDisk: OwnDisk;
  nextHandOverMs: number;
  /** The process from which this one took over because its disk took nothing. */
  readonly handedOverBy: MemberIdentity | undefined;
  /** One of those in the set holds the others up. */
  isAnySlow: boolean;
  /** Every record below has taken effect in the table of LUNs. */
  appliedIndex: number;
}

/** The link's member if it is the process that `identity` names. */
export function memberOf(state: PrimaryState, identity: MemberIdentity): Member | undefined {
  const member = state.members.get(identity.nodeId);
  return member?.incarnation === identity.incarnation ? member : undefined;
}

const NOBODY: readonly MemberIdentity[] = [];

/** The in-sync members other than this one. */
export function othersInSync(state: PrimaryState): readonly MemberIdentity[] {
  const { inSync } = state.group;
  // Asked for with every read and write, most of all of a set of one.
  if (inSync.length === 1 && inSync[0]?.nodeId === state.core.self.nodeId) return NOBODY;
  return state.group.inSync.filter((m) => m.nodeId !== state.core.self.nodeId);
}

/** All whose word is needed: the in-sync set, and a member that may have joined it without our knowing yet. */
export function requiredMembers(state: PrimaryState): readonly MemberIdentity[] {
  const others = othersInSync(state);
  const { joining } = state;
  const { faults } = state.core;
  const isUnion = joining !== undefined && faults.skipUnionWhileExpanding !== true;
  const required = isUnion ? [...others, joining] : others;
  if (faults.acknowledgeBeforeShrinkCommits === true) {
    const { proposal } = state;
    return required.filter((m) => proposal?.kind !== 'shrink' || proposal.remove !== m.nodeId);
  }
  return required;
}

/** Until when no other node can be serving; Infinity for a set of one. */
export function leaseUntilMs(state: PrimaryState): number {
  let until = Number.POSITIVE_INFINITY;
  for (const identity of requiredMembers(state)) {
    until = Math.min(until, memberOf(state, identity)?.leaseUntilMs ?? Number.NEGATIVE_INFINITY);
  }
  return until;
}

/** Infinite where there is no lease: in a set of one there is no need to ask what time it is. */
export function servingUntilMs(state: PrimaryState): number {
  return state.phase === 'serving' ? leaseUntilMs(state) : Number.NEGATIVE_INFINITY;
}

export function isServing(state: PrimaryState, nowMs: number): boolean {
  return nowMs < servingUntilMs(state);
}

/**
 * Whether this member's disk has the epoch that it is primary in. Until then nothing is acknowledged by what it changed: a
 * copy whose epoch was not written down must have acknowledged nothing under it (docs/adr/0025).
 */
export function isEpochPersisted({ core }: PrimaryState): boolean {
  return core.persistedEpoch >= core.epoch;
}

/** Every record below this is on stable storage of all whose word is needed. */
export function durableEverywhere(state: PrimaryState): number {
  if (!isEpochPersisted(state)) return 0;
  let index = state.core.log.durableIndex;
  for (const identity of requiredMembers(state)) {
    index = Math.min(index, memberOf(state, identity)?.durableIndex ?? 0);
  }
  return index;
}

/** Records below this have been taken by every member that there is a link to; Infinity where there is none. */
export function hadByAllLinked({ members }: PrimaryState): number {
  let index = Number.POSITIVE_INFINITY;
  for (const { linkUp, ackedIndex } of members.values()) if (linkUp) index = Math.min(index, ackedIndex);
  return index;
}

/** There are members whose word is needed, and what is sent to them now waits for nothing. */
export function areOthersIdle(
  state: PrimaryState | undefined,
  transport: Pick<PeerTransport, 'queuedBytes'>,
): boolean {
  if (state === undefined) return false;
  const required = requiredMembers(state);
  return required.length > 0 && required.every(({ nodeId }) => transport.queuedBytes(nodeId) === 0);
}

/** A replica whose process the cluster counts as up and that is not in the set. */
export function isCandidate(state: PrimaryState, member: Member): boolean {
  if (!state.group.replicas.includes(member.nodeId) || isInSync(state.group, member)) return false;
  const node = state.nodes.find((n) => n.nodeId === member.nodeId);
  return node?.status === 'up' && node.incarnation === member.incarnation;
}
