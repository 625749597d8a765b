import { departedAfter, soleMember } from './departed.ts';
import type { ClusterState, InSyncMember, NodeId, NodeRecord, PortalGroupRecord } from './model.ts';
import { compareText, lookup } from './names.ts';
import { weightOf } from './node-placement.ts';

/** The rules by which portal groups get their primaries; the same on every node from the same state. */

type Nodes = Readonly<Record<NodeId, NodeRecord>>;
type Groups = Readonly<Record<string, PortalGroupRecord>>;

export function isUp(nodes: Nodes, nodeId: NodeId): boolean {
  return nodes[nodeId]?.status === 'up';
}

/** Whether a member's node is up as the very process, over the very disk, that is in sync. */
export function isThere(nodes: Nodes, member: InSyncMember): boolean {
  return isUp(nodes, member.nodeId) && nodes[member.nodeId]?.incarnation === member.incarnation;
}

/** A member of the in-sync set, as its node has registered. */
export function memberOf(node: NodeRecord, group: PortalGroupRecord): InSyncMember {
  const { nodeId, incarnation, boot } = node;
  const disk = lookup(node.disks ?? {}, group.id);
  const life = lookup(node.lives ?? {}, group.id);
  return {
    nodeId,
    incarnation,
    ...(disk === undefined ? {} : { disk }),
    ...(life === undefined ? {} : { life }),
    ...(boot === undefined ? {} : { boot }),
  };
}

/** Groups in the one order in which every change goes through them. */
export function groupsInOrder(groups: Groups): PortalGroupRecord[] {
  return Object.values(groups).sort((a, b) => compareText(a.id, b.id));
}

/** Whether a node is to be left alone: it is being drained or replaced. */
export function isLeaving(nodes: Nodes, nodeId: NodeId): boolean {
  return nodes[nodeId]?.draining === true;
}

/**
 * The in-sync member that is up, rather not one being drained, and leads the fewest groups for its weight; of equals
 * the one with the lowest id. Undefined while no in-sync member is there.
 */
export function choosePrimary(
  groups: Groups,
  nodes: Nodes,
  inSync: readonly InSyncMember[],
): NodeId | undefined {
  const leads = new Map<NodeId, number>();
  for (const { primary } of Object.values(groups)) {
    if (primary !== undefined) leads.set(primary, (leads.get(primary) ?? 0) + 1);
  }
  const candidates = inSync.filter((m) => isThere(nodes, m)).map((m) => m.nodeId);
  const leaving = (id: NodeId): number => (isLeaving(nodes, id) ? 1 : 0);
  const load = (id: NodeId): number => leads.get(id) ?? 0;
  const weight = (id: NodeId): number => weightOf(nodes[id]);
  return candidates.sort(
    (a, b) => leaving(a) - leaving(b) || load(a) * weight(b) - load(b) * weight(a) || compareText(a, b),
  )[0];
}

/** The group with another in-sync set or primary, one epoch later. */
export function withMembership(
  group: PortalGroupRecord,
  inSync: readonly InSyncMember[],
  primary: NodeId | undefined,
): PortalGroupRecord {
  const { primary: _, departed: __, retired, ...rest } = group;
  const departed = departedAfter(group, inSync, primary);
  const isWaitingStill = primary === undefined && isSameSole(group.inSync, inSync);
  return {
    ...rest,
    epoch: group.epoch + 1,
    inSync,
    ...(primary === undefined ? {} : { primary }),
    ...(departed.length === 0 ? {} : { departed }),
    ...(retired !== undefined && isWaitingStill ? { retired } : {}),
  };
}

function isSameSole(before: readonly InSyncMember[], after: readonly InSyncMember[]): boolean {
  const [a, b] = [soleMember(before), soleMember(after)];
  return a !== undefined && b?.incarnation === a.incarnation && b.disk === a.disk;
}

/**
 * A group that was added gets its primary, and has as its members those that are there, once each of these has said which
 * directory its copy is in.
 * @param inSync its members from now on
 */
export function withFounders(
  group: PortalGroupRecord,
  inSync: readonly InSyncMember[],
  groups: Groups,
  nodes: Nodes,
): PortalGroupRecord {
  const there = inSync.filter((m) => isThere(nodes, m));
  if (there.length === 0 || there.some((m) => m.disk === undefined)) {
    return inSync === group.inSync ? group : withMembership(group, inSync, undefined);
  }
  const { founding: _, ...rest } = group;
  return withMembership(rest, there, choosePrimary(groups, nodes, there));
}

/** The same with what a member's node says of itself now. */
export function withFounder(
  group: PortalGroupRecord,
  groups: Groups,
  nodes: Nodes,
  node: NodeRecord,
): PortalGroupRecord {
  if (group.founding !== true || !group.inSync.some((m) => m.nodeId === node.nodeId)) return group;
  const inSync = group.inSync.map((m) => (m.nodeId === node.nodeId ? memberOf(node, group) : m));
  return withFounders(group, inSync, groups, nodes);
}

/**
 * Goes through all groups in order and lets `change` say what becomes of each, seeing the changes made so
 * far; that is how one entry spreads the groups of a dead node over all survivors.
 */
export function changeGroups(
  state: ClusterState,
  change: (group: PortalGroupRecord, groups: Groups) => PortalGroupRecord,
): ClusterState {
  let groups = state.portalGroups;
  for (const group of groupsInOrder(groups)) {
    const changed = change(group, groups);
    if (changed !== group) groups = { ...groups, [group.id]: changed };
  }
  return groups === state.portalGroups ? state : { ...state, portalGroups: groups };
}
