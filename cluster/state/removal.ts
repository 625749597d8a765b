import { candidates, isCatchingUp, isInSync, replicasWanted } from './copies.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { groupsInOrder, isLeaving, isUp } from './primaries.ts';

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
    const reason = `it is the last in-sync member of ${named(lost)}`;
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
    if (found.length > 0) obstacles.push({ code, reason: `${reason} ${named(found)}` });
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

function named(groups: readonly PortalGroupRecord[]): string {
  return `portal group${groups.length === 1 ? '' : 's'} ${groups.map((g) => g.id).join(', ')}`;
}
