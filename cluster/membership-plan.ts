import { LEARNER_LAG_ENTRIES } from './limits.ts';
import type { ConfChangeSingle, ConfState, PeerProgress, RaftStatus } from './raft/index.ts';

/** A node as the replicated configuration has it. */
export interface MemberRecord {
  readonly nodeId: string;
  readonly raftId: number;
}

/** The members that the cluster wants, which Raft's own are to become. */
export interface WantedMember extends MemberRecord {
  /** It is not to lead. */
  readonly leaving: boolean;
}

export type MembershipStep =
  | { readonly kind: 'transfer'; readonly to: number }
  /** One change, or several at once through joint consensus. */
  | { readonly kind: 'change'; readonly changes: readonly ConfChangeSingle[] };

/**
 * What a leader does next so that Raft's configuration becomes the one that is wanted. Pure.
 *
 * - A newcomer begins as a learner, so that it is not counted on before it has the log, and votes once it has.
 * - Whoever is wanted no more becomes a learner and then leaves, in a step of its own; the leader first hands leadership
 *   on. So a majority that does without that voter has the change on its disks, and knows it to be committed, before
 *   anybody lets it go: see docs/adr/0028-a-removed-node-votes-on.md.
 * - No change leaves a configuration of which a majority is not heard from just now.
 */
export function planMembership(
  status: RaftStatus,
  wanted: readonly WantedMember[],
  isUp: (raftId: number) => boolean,
): MembershipStep | undefined {
  const { id, role, confState, progress, leadTransferee } = status;
  const joint = confState.votersOutgoing.length > 0;
  if (role !== 'leader' || joint || leadTransferee !== 0) return undefined;
  const isWanted = (raftId: number): boolean => wanted.some((m) => m.raftId === raftId);
  const own = wanted.find((m) => m.raftId === id);
  const isHeard = (raftId: number): boolean =>
    raftId === id || (isUp(raftId) && (progress.find((p) => p.id === raftId)?.recentActive ?? false));
  if (own === undefined || own.leaving) {
    const to = successor(status, wanted, isHeard);
    if (to !== undefined) return { kind: 'transfer', to };
  }
  const caughtUp = (raftId: number): boolean => isHeard(raftId) && isCaughtUp(status, raftId);
  const changes: ConfChangeSingle[] = [
    ...wanted.filter((m) => !isMember(confState, m.raftId)).map((m) => change('addLearnerNode', m.raftId)),
    ...confState.learners.filter((n) => isWanted(n) && caughtUp(n)).map((n) => change('addNode', n)),
    // A leader that found nobody to hand on to stays as long as it is the only one who can lead.
    ...confState.voters.filter((n) => !isWanted(n) && n !== id).map((n) => change('addLearnerNode', n)),
    ...confState.learners.filter((n) => !isWanted(n)).map((n) => change('removeNode', n)),
  ];
  const kept = mostThatKeepsMajority(confState, changes, isHeard);
  return kept.length === 0 ? undefined : { kind: 'change', changes: kept };
}

function change(type: ConfChangeSingle['type'], nodeId: number): ConfChangeSingle {
  return { type, nodeId };
}

function isMember({ voters, learners, learnersNext }: ConfState, raftId: number): boolean {
  return voters.includes(raftId) || learners.includes(raftId) || learnersNext.includes(raftId);
}

/** A learner has what the leader has, but for what is on its way to it. */
function isCaughtUp({ progress, lastIndex }: RaftStatus, raftId: number): boolean {
  const peer = progress.find((p) => p.id === raftId);
  return peer?.state === 'replicate' && peer.match + LEARNER_LAG_ENTRIES >= lastIndex;
}

/** The voter to hand leadership on to: one that stays and has most of the log. */
function successor(
  { id, confState, progress }: RaftStatus,
  wanted: readonly WantedMember[],
  isHeard: (raftId: number) => boolean,
): number | undefined {
  const match = (peer: PeerProgress): number => peer.match;
  return progress
    .filter((p) => p.id !== id && confState.voters.includes(p.id) && isHeard(p.id))
    .filter((p) => wanted.some((m) => m.raftId === p.id && !m.leaving))
    .sort((a, b) => match(b) - match(a))[0]?.id;
}

/** All of the changes, or else those that do not make a vote count. */
function mostThatKeepsMajority(
  confState: ConfState,
  changes: readonly ConfChangeSingle[],
  isHeard: (raftId: number) => boolean,
): readonly ConfChangeSingle[] {
  if (hasMajority(votersAfter(confState, changes), isHeard)) return changes;
  // One at a time: a voter that is gone may be what makes the majority thin.
  const single = changes.find((c) => changesVoters(confState, c));
  if (single !== undefined && hasMajority(votersAfter(confState, [single]), isHeard)) return [single];
  return changes.filter((c) => !changesVoters(confState, c));
}

function changesVoters({ voters }: ConfState, { type, nodeId }: ConfChangeSingle): boolean {
  return type === 'addNode' || voters.includes(nodeId);
}

function votersAfter({ voters }: ConfState, changes: readonly ConfChangeSingle[]): readonly number[] {
  const removed = changes.filter((c) => c.type !== 'addNode').map((c) => c.nodeId);
  const added = changes.filter((c) => c.type === 'addNode').map((c) => c.nodeId);
  return [...voters.filter((n) => !removed.includes(n)), ...added];
}

function hasMajority(voters: readonly number[], isHeard: (raftId: number) => boolean): boolean {
  return voters.filter(isHeard).length * 2 > voters.length;
}
