import { compareRoom, type Share } from './balance.ts';
import { DEFAULT_REPLICAS_PER_GROUP } from './limits.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { compareText } from './names.ts';
import { rackOf, weightOf } from './node-placement.ts';
import { isLeaving, isUp } from './primaries.ts';

/** Where the copies of portal groups are, and where they could be. */

/** Nodes that are not waited for any more: they have been down for too long. Their copies are made anew elsewhere. */
export type GivenUp = ReadonlySet<NodeId>;
export const NOBODY: GivenUp = new Set();

export function replicasWanted(state: ClusterState): number {
  return state.settings.replicasPerGroup ?? DEFAULT_REPLICAS_PER_GROUP;
}

export function isInSync(group: PortalGroupRecord, nodeId: NodeId): boolean {
  return group.inSync.some((m) => m.nodeId === nodeId);
}

export function isCatchingUp(state: ClusterState, group: PortalGroupRecord, nodeId: NodeId): boolean {
  return isUp(state.nodes, nodeId) && !isInSync(group, nodeId);
}

/** Whether its copies are to go elsewhere. */
export function isGoing(state: ClusterState, nodeId: NodeId, givenUp: GivenUp): boolean {
  return isLeaving(state.nodes, nodeId) || (givenUp.has(nodeId) && !isUp(state.nodes, nodeId));
}

export function staying(state: ClusterState, group: PortalGroupRecord, givenUp: GivenUp = NOBODY): NodeId[] {
  return group.replicas.filter((id) => !isGoing(state, id, givenUp));
}

/** Nodes that are up and stay, in the order of their ids. */
export function takers(state: ClusterState): NodeId[] {
  return Object.keys(state.nodes)
    .filter((id) => isUp(state.nodes, id) && !isLeaving(state.nodes, id))
    .sort(compareText);
}

/** How many copies a node keeps. */
export function copiesOn(state: ClusterState, nodeId: NodeId): Share {
  const load = Object.values(state.portalGroups).filter((g) => g.replicas.includes(nodeId)).length;
  return { nodeId, load, weight: weightOf(state.nodes[nodeId]) };
}

export function leadsOf(state: ClusterState, nodeId: NodeId): Share {
  const load = Object.values(state.portalGroups).filter((g) => g.primary === nodeId).length;
  return { nodeId, load, weight: weightOf(state.nodes[nodeId]) };
}

/** How many of these copies would share the fate of another of them, beyond one. */
export function sharedFates(state: ClusterState, nodeIds: readonly NodeId[]): number {
  return nodeIds.length - racksOf(state, nodeIds);
}

/** A node of which no rack is known shares its fate with nobody. */
export function racksOf(state: ClusterState, nodeIds: readonly NodeId[]): number {
  const named = nodeIds.map((id) => rackOf(state.nodes[id])).filter((rack) => rack !== undefined);
  return nodeIds.length - named.length + new Set(named).size;
}

/** Nodes that could take a copy of the group: where it shares no fate first, of those the one with the most room. */
export function candidates(
  state: ClusterState,
  group: PortalGroupRecord,
  givenUp: GivenUp = NOBODY,
): NodeId[] {
  const stay = staying(state, group, givenUp);
  const fates = (id: NodeId): number => sharedFates(state, [...stay, id]);
  return takers(state)
    .filter((id) => !group.replicas.includes(id))
    .map((id) => ({ id, fates: fates(id), copies: copiesOn(state, id) }))
    .sort((a, b) => a.fates - b.fates || compareRoom(a.copies, b.copies) || compareText(a.id, b.id))
    .map(({ id }) => id);
}
