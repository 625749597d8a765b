import type { Command } from './commands.ts';
import { DEFAULT_REPLICAS_PER_GROUP, MAX_REPLICAS_IN_MOTION } from './limits.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { compareText } from './names.ts';
import { groupsInOrder, isLeaving, isThere, isUp } from './primaries.ts';

/**
 * Where portal groups ought to be, as the next single step towards it. Pure: the leader asks again after each
 * step has been applied, so a plan is never older than the state that it is made of.
 *
 * 1. A node being drained or replaced leads nothing as soon as another in-sync member can.
 * 2. Every group has its copies on `replicasPerGroup` nodes that stay, where there are as many.
 * 3. A leaving node's copy goes when all the others are whole; where no other node could take it, it stays.
 * 4. Copies are spread evenly.
 * 5. A node that has been replaced and holds nothing any more is removed.
 */
export function planPlacement(state: ClusterState, nowMs: number): Command | undefined {
  return (
    movePrimaryAway(state) ??
    dropReplicaNotNeeded(state) ??
    addMissingReplica(state) ??
    spreadReplicas(state) ??
    removeReplaced(state, nowMs)
  );
}

/** Why a node cannot be removed at the moment, each in words with its code; empty: it can. */
export function obstaclesToRemoval(
  state: ClusterState,
  nodeId: NodeId,
): { readonly code: string; readonly reason: string }[] {
  if (Object.keys(state.nodes).length === 1) {
    return [{ code: 'last-node', reason: `node ${nodeId} is the only node` }];
  }
  const groups = groupsInOrder(state.portalGroups).filter((g) => g.replicas.includes(nodeId));
  const lost = groups.filter((g) => g.inSync.every((m) => m.nodeId === nodeId));
  if (lost.length > 0) {
    const reason = `it is the last in-sync member of portal group ${names(lost)}`;
    return [{ code: 'last-in-sync', reason }];
  }
  return isUp(state.nodes, nodeId) ? obstaclesOfRunning(state, nodeId, groups) : [];
}

function obstaclesOfRunning(
  state: ClusterState,
  nodeId: NodeId,
  groups: readonly PortalGroupRecord[],
): { readonly code: string; readonly reason: string }[] {
  const obstacles: { readonly code: string; readonly reason: string }[] = [];
  const check = (code: string, found: readonly PortalGroupRecord[], reason: string): void => {
    if (found.length > 0) obstacles.push({ code, reason: `${reason} portal group ${names(found)}` });
  };
  check(
    'still-primary',
    groups.filter((g) => g.primary === nodeId),
    'it still leads',
  );
  const others = (g: PortalGroupRecord): readonly NodeId[] =>
    g.replicas.filter((id) => id !== nodeId && !isLeaving(state.nodes, id));
  check(
    'not-placed',
    groups.filter((g) => others(g).length < replicasWanted(state) && candidates(state, g).length > 0),
    'another node has yet to take its copy of',
  );
  check(
    'catching-up',
    groups.filter((g) => isInSync(g, nodeId) && others(g).some((id) => isCatchingUp(state, g, id))),
    'another replica is still catching up in',
  );
  check(
    'too-few-in-sync',
    groups.filter((g) => isInSync(g, nodeId) && g.inSync.length - 1 < g.minInSync),
    'too few members would be left in sync in',
  );
  const held = onlyHere(state, nodeId);
  if (held !== undefined) {
    obstacles.push({ code: 'last-holder', reason: `no other node has a copy of ${held} yet` });
  }
  return obstacles;
}

function onlyHere(state: ClusterState, nodeId: NodeId): string | undefined {
  const isOnly = (holders: readonly NodeId[]): boolean => holders.length === 1 && holders[0] === nodeId;
  for (const { name, versions } of Object.values(state.images)) {
    const version = versions.find((v) => isOnly(v.holders));
    if (version !== undefined) return `image ${name}, version ${version.version}`;
  }
  const file = Object.values(state.bootFiles).find((f) => isOnly(f.holders));
  return file === undefined ? undefined : `boot file ${file.name}`;
}

function names(groups: readonly PortalGroupRecord[]): string {
  return groups.map((g) => g.id).join(', ');
}

function replicasWanted(state: ClusterState): number {
  return state.settings.replicasPerGroup ?? DEFAULT_REPLICAS_PER_GROUP;
}

function isInSync(group: PortalGroupRecord, nodeId: NodeId): boolean {
  return group.inSync.some((m) => m.nodeId === nodeId);
}

function isCatchingUp(state: ClusterState, group: PortalGroupRecord, nodeId: NodeId): boolean {
  return isUp(state.nodes, nodeId) && !isInSync(group, nodeId);
}

function staying(state: ClusterState, group: PortalGroupRecord): NodeId[] {
  return group.replicas.filter((id) => !isLeaving(state.nodes, id));
}

/** How many copies each node keeps. */
function loads(state: ClusterState): ReadonlyMap<NodeId, number> {
  const counts = new Map<NodeId, number>(Object.keys(state.nodes).map((id) => [id, 0]));
  for (const { replicas } of Object.values(state.portalGroups)) {
    for (const id of replicas) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

/** Nodes that could take a copy of the group, the least loaded first. */
function candidates(state: ClusterState, group: PortalGroupRecord): NodeId[] {
  const load = loads(state);
  return Object.keys(state.nodes)
    .filter((id) => isUp(state.nodes, id) && !isLeaving(state.nodes, id) && !group.replicas.includes(id))
    .sort((a, b) => (load.get(a) ?? 0) - (load.get(b) ?? 0) || compareText(a, b));
}

function movePrimaryAway(state: ClusterState): Command | undefined {
  const leads = (id: NodeId): number =>
    Object.values(state.portalGroups).filter((g) => g.primary === id).length;
  for (const group of groupsInOrder(state.portalGroups)) {
    const { primary } = group;
    if (primary === undefined || !isLeaving(state.nodes, primary)) continue;
    const { replacedBy } = state.nodes[primary] ?? {};
    const first = (id: NodeId): number => (id === replacedBy ? 0 : 1);
    const to = group.inSync
      .filter((m) => isThere(state.nodes, m) && !isLeaving(state.nodes, m.nodeId))
      .map((m) => m.nodeId)
      .sort((a, b) => first(a) - first(b) || leads(a) - leads(b) || compareText(a, b))[0];
    if (to !== undefined) return { type: 'moveGroup', group: group.id, epoch: group.epoch, to };
  }
  return undefined;
}

/** A copy on a leaving node, or one more than wanted, once all that stay are whole. */
function dropReplicaNotNeeded(state: ClusterState): Command | undefined {
  const wanted = replicasWanted(state);
  const load = loads(state);
  for (const group of groupsInOrder(state.portalGroups)) {
    const stay = staying(state, group);
    const leaving = group.replicas.filter((id) => isLeaving(state.nodes, id));
    const whole = stay.filter((id) => isInSync(group, id));
    if (stay.some((id) => isCatchingUp(state, group, id))) continue;
    if (whole.length < Math.max(1, group.minInSync)) continue;
    const surplus = stay.length > wanted ? stay : [];
    const droppable = (stay.length >= wanted ? leaving : []).concat(surplus);
    const drop = droppable
      .filter((id) => id !== group.primary)
      .sort(
        (a, b) =>
          Number(isInSync(group, a)) - Number(isInSync(group, b)) ||
          Number(isLeaving(state.nodes, b)) - Number(isLeaving(state.nodes, a)) ||
          (load.get(b) ?? 0) - (load.get(a) ?? 0) ||
          compareText(a, b),
      )[0];
    if (drop !== undefined) return { type: 'dropReplica', group: group.id, epoch: group.epoch, drop };
  }
  return undefined;
}

/** Too many copies on their way at once would only make each slower, and clients with them. */
function isBusy(state: ClusterState): boolean {
  let count = 0;
  for (const group of Object.values(state.portalGroups)) {
    count += group.replicas.filter((id) => isCatchingUp(state, group, id)).length;
  }
  return count >= MAX_REPLICAS_IN_MOTION;
}

function addMissingReplica(state: ClusterState): Command | undefined {
  if (isBusy(state)) return undefined;
  const wanted = replicasWanted(state);
  for (const group of groupsInOrder(state.portalGroups)) {
    if (staying(state, group).length >= wanted) continue;
    const possible = candidates(state, group);
    const replacements = group.replicas.map((id) => state.nodes[id]?.replacedBy);
    const add = possible.find((id) => replacements.includes(id)) ?? possible[0];
    if (add !== undefined) return { type: 'addReplica', group: group.id, epoch: group.epoch, add };
  }
  return undefined;
}

/** One copy more on the emptiest node; the group's fullest one then has one too many. */
function spreadReplicas(state: ClusterState): Command | undefined {
  if (isBusy(state)) return undefined;
  const load = loads(state);
  const wanted = replicasWanted(state);
  for (const group of groupsInOrder(state.portalGroups)) {
    const add = candidates(state, group)[0];
    if (add === undefined || staying(state, group).length > wanted) continue;
    const movable = staying(state, group).filter((id) => id !== group.primary && isUp(state.nodes, id));
    const fullest = Math.max(0, ...movable.map((id) => load.get(id) ?? 0));
    if (fullest - (load.get(add) ?? 0) < 2) continue;
    return { type: 'addReplica', group: group.id, epoch: group.epoch, add };
  }
  return undefined;
}

function removeReplaced(state: ClusterState, nowMs: number): Command | undefined {
  const gone = Object.values(state.nodes).find(
    ({ nodeId, replacedBy }) =>
      replacedBy !== undefined &&
      !Object.values(state.portalGroups).some((g) => g.replicas.includes(nodeId)) &&
      obstaclesToRemoval(state, nodeId).length === 0,
  );
  if (gone === undefined) return undefined;
  const { nodeId, replacedBy = '' } = gone;
  return { type: 'removeNode', nodeId, atMs: nowMs, by: `its replacement by ${replacedBy}` };
}
