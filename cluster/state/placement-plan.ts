import { compareBurden, compareRoom, type Share, stepToBalance } from './balance.ts';
import type { Command, PlacementCommand } from './commands.ts';
import {
  candidates,
  copiesOn,
  type GivenUp,
  isCatchingUp,
  isGoing,
  isInSync,
  leadsOf,
  NOBODY,
  racksOf,
  replicasWanted,
  sharedFates,
  staying,
  takers,
} from './copies.ts';
import { MAX_REPLICAS_IN_MOTION, MAX_STEPS_OF_A_COPY } from './limits.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { compareText } from './names.ts';
import { rackOf } from './node-placement.ts';
import { groupsInOrder, isLeaving, isThere, isUp } from './primaries.ts';
import { obstaclesToRemoval } from './removal.ts';
import { versionOf } from './versions.ts';

/** One thing to do about the placement of portal groups, and why. */
export interface PlacementStep {
  readonly command: Extract<Command, { type: PlacementCommand['type'] | 'removeNode' }>;
  /** In words. */
  readonly why: string;
}

export interface PlacementTerms {
  /** Whether anything may be moved that is well where it is, but for balance or for racks. */
  readonly mayBalance: boolean;
  readonly givenUp: GivenUp;
}

const ALL_TERMS: PlacementTerms = { mayBalance: true, givenUp: NOBODY };

/**
 * Where portal groups ought to be, as the next single step towards it. Pure: the leader asks again after each
 * step has been applied, so a plan is never older than the state that it is made of.
 *
 * 1. A node being drained or replaced leads nothing as soon as another in-sync member can.
 * 2. A leaving node's copy goes when all the others are whole; where no other node could take it, it stays. So does one
 *    copy more than wanted: that is how a copy moves.
 * 3. Every group has its copies on `replicasPerGroup` nodes that stay, where there are as many.
 * 4. A node that has been replaced and holds nothing any more is removed.
 * 5. For balance, one thing at a time in the whole cluster, and only while all copies of all groups are in sync: copies
 *    of a group share no rack, where there are enough; copies are spread by weight; so are primaries.
 */
export function planStep(
  state: ClusterState,
  nowMs: number,
  terms: PlacementTerms = ALL_TERMS,
): PlacementStep | undefined {
  return (
    movePrimaryAway(state) ??
    dropReplicaNotNeeded(state, terms.givenUp) ??
    addMissingReplica(state, terms.givenUp) ??
    removeReplaced(state, nowMs) ??
    (terms.mayBalance ? balanceStep(state) : undefined)
  );
}

/** The command of planStep. */
export function planPlacement(
  state: ClusterState,
  nowMs: number,
  terms: PlacementTerms = ALL_TERMS,
): Command | undefined {
  return planStep(state, nowMs, terms)?.command;
}

function movePrimaryAway(state: ClusterState): PlacementStep | undefined {
  for (const group of groupsInOrder(state.portalGroups)) {
    const { primary } = group;
    if (primary === undefined || !isLeaving(state.nodes, primary)) continue;
    const { replacedBy } = state.nodes[primary] ?? {};
    const to = successors(state, group, replacedBy)[0];
    if (to === undefined) continue;
    const why = replacedBy === undefined ? 'is being drained' : `is being replaced by ${replacedBy}`;
    return { ...moveTo(group, to), why: `node ${primary} ${why}` };
  }
  return undefined;
}

function moveTo(group: PortalGroupRecord, to: NodeId): Pick<PlacementStep, 'command'> {
  return { command: { type: 'moveGroup', group: group.id, epoch: group.epoch, to } };
}

/** Other in-sync members that are up and stay, the best to lead first. */
function successors(state: ClusterState, group: PortalGroupRecord, preferred?: NodeId): NodeId[] {
  const first = (id: NodeId): number => (id === preferred ? 0 : 1);
  return group.inSync
    .filter((m) => isThere(state.nodes, m) && !isLeaving(state.nodes, m.nodeId) && m.nodeId !== group.primary)
    .map(({ nodeId: id }) => ({ id, leads: leadsOf(state, id) }))
    .sort((a, b) => first(a.id) - first(b.id) || compareRoom(a.leads, b.leads) || compareText(a.id, b.id))
    .map(({ id }) => id);
}

/** A copy on a leaving node, or one more than wanted, once all that stay are whole. */
function dropReplicaNotNeeded(state: ClusterState, givenUp: GivenUp): PlacementStep | undefined {
  for (const group of groupsInOrder(state.portalGroups)) {
    const drop = toDrop(state, group, givenUp);
    if (drop === undefined) continue;
    const why = whyToDrop(state, drop, givenUp);
    if (drop !== group.primary) {
      return { command: { type: 'dropReplica', group: group.id, epoch: group.epoch, drop }, why };
    }
    const to = successors(state, group)[0];
    if (to !== undefined) return { ...moveTo(group, to), why };
  }
  return undefined;
}

function whyToDrop(state: ClusterState, nodeId: NodeId, givenUp: GivenUp): string {
  if (isLeaving(state.nodes, nodeId)) return `node ${nodeId} leaves, and other nodes have all copies wanted`;
  if (isGoing(state, nodeId, givenUp))
    return `node ${nodeId} has been down for long, and others have all copies wanted`;
  return `there is one copy more than wanted, and node ${nodeId} is to keep fewer`;
}

/** The copy that the group is to do without next; it may be the primary's. */
function toDrop(state: ClusterState, group: PortalGroupRecord, givenUp: GivenUp): NodeId | undefined {
  const wanted = replicasWanted(state);
  const stay = staying(state, group, givenUp);
  const whole = stay.filter((id) => isInSync(group, id));
  if (stay.some((id) => isCatchingUp(state, group, id))) return undefined;
  if (whole.length < Math.max(1, group.minInSync)) return undefined;
  const going = group.replicas.filter((id) => isGoing(state, id, givenUp));
  const surplus = stay.length > wanted ? stay : [];
  const { moving } = group;
  const isSpared = (id: NodeId): boolean =>
    isInSync(group, id) && group.inSync.length - 1 < Math.max(1, group.minInSync);
  if (moving !== undefined && surplus.includes(moving.from) && whole.includes(moving.to)) {
    return isSpared(moving.from) ? undefined : moving.from;
  }
  const left = (drop: NodeId): NodeId[] => group.replicas.filter((id) => id !== drop);
  return (stay.length >= wanted ? going : [])
    .concat(surplus)
    .filter((id) => !isSpared(id))
    .filter((id) => id !== group.primary || surplus.includes(id))
    .map((id) => ({
      id,
      inSync: Number(isInSync(group, id)),
      stays: Number(!going.includes(id)),
      fates: sharedFates(state, left(id)),
      copies: copiesOn(state, id),
      leads: Number(id === group.primary),
    }))
    .sort(
      (a, b) =>
        a.inSync - b.inSync ||
        a.stays - b.stays ||
        a.fates - b.fates ||
        compareBurden(a.copies, b.copies) ||
        a.leads - b.leads ||
        compareText(a.id, b.id),
    )[0]?.id;
}

/** Too many copies on their way at once would only make each slower, and clients with them. */
function isBusy(state: ClusterState): boolean {
  let count = 0;
  for (const group of Object.values(state.portalGroups)) {
    count += group.replicas.filter((id) => isCatchingUp(state, group, id)).length;
  }
  return count >= MAX_REPLICAS_IN_MOTION;
}

function addMissingReplica(state: ClusterState, givenUp: GivenUp): PlacementStep | undefined {
  if (isBusy(state)) return undefined;
  const wanted = replicasWanted(state);
  for (const group of groupsInOrder(state.portalGroups)) {
    const stay = staying(state, group, givenUp);
    if (stay.length >= wanted) continue;
    const possible = candidates(state, group, givenUp);
    const replacements = group.replicas.map((id) => state.nodes[id]?.replacedBy);
    const add = possible.find((id) => replacements.includes(id)) ?? possible[0];
    if (add === undefined) continue;
    return {
      ...copyTo(state, group, add),
      why: `it has ${stay.length} of ${wanted} copies on nodes that stay`,
    };
  }
  return undefined;
}

function copyTo(
  state: ClusterState,
  group: PortalGroupRecord,
  add: NodeId,
  from?: NodeId,
): Pick<PlacementStep, 'command'> {
  const insteadOf = from === undefined || versionOf(state) < 2 ? {} : { insteadOf: from };
  return { command: { type: 'addReplica', group: group.id, epoch: group.epoch, add, ...insteadOf } };
}

function removeReplaced(state: ClusterState, nowMs: number): PlacementStep | undefined {
  const gone = Object.values(state.nodes).find(
    ({ nodeId, replacedBy }) =>
      replacedBy !== undefined &&
      !Object.values(state.portalGroups).some((g) => g.replicas.includes(nodeId)) &&
      obstaclesToRemoval(state, nodeId).length === 0,
  );
  if (gone === undefined) return undefined;
  const { nodeId, replacedBy = '' } = gone;
  const by = `its replacement by ${replacedBy}`;
  return {
    command: { type: 'removeNode', nodeId, atMs: nowMs, by },
    why: `it is replaced by ${replacedBy} and holds nothing any more`,
  };
}

/** Why nothing is moved for balance now; undefined: everything is in sync. */
export function unsettledReason(state: ClusterState): string | undefined {
  const wanted = Math.min(replicasWanted(state), takers(state).length);
  for (const group of groupsInOrder(state.portalGroups)) {
    const { id, primary, replicas } = group;
    if (primary === undefined || !isUp(state.nodes, primary)) return `nobody serves portal group ${id}`;
    const behind = replicas.filter((r) => !isInSync(group, r) || !isUp(state.nodes, r));
    if (behind.length > 0) return `portal group ${id} is not in sync on ${behind.join(', ')}`;
    const stay = staying(state, group).length;
    if (stay < wanted) return `portal group ${id} has fewer copies than wanted`;
    if (stay > wanted) return `portal group ${id} has one copy more than wanted`;
  }
  return undefined;
}

function balanceStep(state: ClusterState): PlacementStep | undefined {
  if (unsettledReason(state) !== undefined) return undefined;
  return separateRacks(state) ?? spreadCopies(state) ?? spreadPrimaries(state);
}

/** One copy more, in a rack that has none; the group then has one too many, of two that share a rack. */
function separateRacks(state: ClusterState): PlacementStep | undefined {
  for (const group of groupsInOrder(state.portalGroups)) {
    const stay = staying(state, group);
    const add = candidates(state, group)[0];
    const shared = sharedFates(state, stay);
    if (add === undefined || shared === 0 || racksOf(state, [...stay, add]) === racksOf(state, stay))
      continue;
    const insteadOf = toDrop(state, withCopy(state, group, add), NOBODY);
    const racks = [...new Set(stay.map((id) => rackOf(state.nodes[id])))].join(', ');
    return { ...copyTo(state, group, add, insteadOf), why: `its copies are in no other racks than ${racks}` };
  }
  return undefined;
}

/** As it will be once the copy is there and in sync. */
function withCopy(state: ClusterState, group: PortalGroupRecord, add: NodeId): PortalGroupRecord {
  const { moving: _, ...rest } = group;
  const { incarnation = '' } = state.nodes[add] ?? {};
  return {
    ...rest,
    replicas: [...group.replicas, add],
    inSync: [...group.inSync, { nodeId: add, incarnation }],
  };
}

/** One copy more on a node with room; the group then has one too many on the node it comes from. */
function spreadCopies(state: ClusterState): PlacementStep | undefined {
  const nodeIds = takers(state);
  const groups = groupsInOrder(state.portalGroups);
  const mayMove = (group: PortalGroupRecord, from: NodeId, to: NodeId): boolean => {
    if (!group.replicas.includes(from) || group.replicas.includes(to)) return false;
    const stay = staying(state, group);
    const moved = [...stay.filter((id) => id !== from), to];
    return sharedFates(state, moved) <= sharedFates(state, stay);
  };
  const step = stepToBalance(
    nodeIds.map((id) => copiesOn(state, id)),
    (from, to) => groups.some((group) => mayMove(group, from, to)),
    // What is not remembered of a move could be taken back by the next step, unless each is worth it by itself.
    versionOf(state) < 2 ? 1 : MAX_STEPS_OF_A_COPY,
  );
  if (step === undefined) return undefined;
  const { from, to } = step;
  const movable = groups.filter((group) => mayMove(group, from, to));
  const group = movable.find(({ primary }) => primary !== from) ?? movable[0];
  if (group === undefined) return undefined;
  const why = compared('keeps', copiesOn(state, from), copiesOn(state, to));
  return { ...copyTo(state, group, to, from), why };
}

function spreadPrimaries(state: ClusterState): PlacementStep | undefined {
  const nodeIds = takers(state);
  const groups = groupsInOrder(state.portalGroups);
  const mayLead = (group: PortalGroupRecord, from: NodeId, to: NodeId): boolean =>
    group.primary === from && group.inSync.some((m) => m.nodeId === to && isThere(state.nodes, m));
  const step = stepToBalance(
    nodeIds.map((id) => leadsOf(state, id)),
    (from, to) => groups.some((group) => mayLead(group, from, to)),
    nodeIds.length,
  );
  if (step === undefined) return undefined;
  const { from, to } = step;
  const group = groups.find((g) => mayLead(g, from, to));
  if (group === undefined) return undefined;
  return { ...moveTo(group, to), why: compared('leads', leadsOf(state, from), leadsOf(state, to)) };
}

function compared(verb: string, from: Share, to: Share): string {
  const text = ({ nodeId, load, weight }: Share): string => `${nodeId} ${verb} ${load} by weight ${weight}`;
  return `${text(from)}, ${text(to)}`;
}

/** Whether a copy is on its way from one node to another. */
export function isMoving(state: ClusterState): boolean {
  const wanted = replicasWanted(state);
  return Object.values(state.portalGroups).some((group) => staying(state, group).length > wanted);
}
