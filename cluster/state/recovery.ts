import { CLUSTER_RECOVERED, withAudit } from './audit.ts';
import { RECOVERY_EPOCH_STEP } from './limits.ts';
import { withoutHolder } from './membership.ts';
import type { ClusterState, InSyncMember, NodeId, PortalGroupRecord, RemovedNodeRecord } from './model.ts';
import { removedNode } from './node-addresses.ts';
import { choosePrimary, groupsInOrder } from './primaries.ts';

/** What is left of a cluster whose majority is lost for good. */
export interface Survivors {
  /** The node on whose disk the new configuration is made. */
  readonly self: NodeId;
  /** All that are left, `self` included. */
  readonly nodes: readonly NodeId[];
  readonly atMs: number;
}

export interface RecoveredState {
  readonly state: ClusterState;
  readonly lostNodes: readonly NodeId[];
  /** Groups of which no in-sync member is left, but a copy that was behind. */
  readonly staleGroups: readonly string[];
  /** Groups of which no copy is left at all; their disks begin anew. */
  readonly lostGroups: readonly string[];
}

/**
 * The configuration with the lost nodes removed. Groups go on with the in-sync members that are left; where none is,
 * with a copy that was behind, or an empty one, which is for the administrator to accept. Pure.
 */
export function recoverState(
  state: ClusterState,
  { self, nodes: survivors, atMs }: Survivors,
): RecoveredState {
  const all = Object.values(state.nodes);
  const lost = all.filter((node) => !survivors.includes(node.nodeId));
  const nodes = Object.fromEntries(
    all.filter((node) => survivors.includes(node.nodeId)).map((node) => [node.nodeId, node]),
  );
  const removed = lost.map((node): [NodeId, RemovedNodeRecord] => [
    node.nodeId,
    removedNode(state, node, atMs),
  ]);
  const staleGroups: string[] = [];
  const lostGroups: string[] = [];
  let portalGroups: ClusterState['portalGroups'] = {};
  for (const group of groupsInOrder(state.portalGroups)) {
    const left = group.replicas.filter((id) => survivors.includes(id));
    let inSync = group.inSync.filter((m) => survivors.includes(m.nodeId));
    if (inSync.length === 0) {
      (left.length === 0 ? lostGroups : staleGroups).push(group.id);
      inSync = [memberAs(state, left.includes(self) ? self : (left[0] ?? self))];
    }
    const replicas = left.length === 0 ? [self] : left;
    const isLoss = !inSync.some((m) => group.inSync.includes(m));
    const recovered = withoutPrimary(group, replicas, inSync, isLoss);
    const primary = choosePrimary(portalGroups, nodes, inSync);
    portalGroups = {
      ...portalGroups,
      [group.id]: primary === undefined ? recovered : { ...recovered, primary },
    };
  }
  const rest: ClusterState = {
    ...state,
    nodes,
    portalGroups,
    removedNodes: { ...state.removedNodes, ...Object.fromEntries(removed) },
    joinTokens: {},
  };
  const held = lost.reduce((next, node) => withoutHolder(next, node.nodeId), rest);
  const lostNodes = lost.map((node) => node.nodeId);
  const detail =
    `on ${self}, without ${lostNodes.join(', ') || 'losing a node'}; ` +
    `stale groups: ${staleGroups.join(', ') || 'none'}; lost groups: ${lostGroups.join(', ') || 'none'}`;
  return { state: withAudit(held, atMs, CLUSTER_RECOVERED, detail), lostNodes, staleGroups, lostGroups };
}

function memberAs(state: ClusterState, nodeId: NodeId): InSyncMember {
  return { nodeId, incarnation: state.nodes[nodeId]?.incarnation ?? '' };
}

/**
 * Entries that are lost may have raised the epoch further, and members have kept what they heard. Directories may have
 * begun lives that only these entries told of: it is not known which are to be expected.
 */
function withoutPrimary(
  group: PortalGroupRecord,
  replicas: readonly NodeId[],
  inSync: readonly InSyncMember[],
  isLoss: boolean,
): PortalGroupRecord {
  const { primary: _, founding: __, departed: ___, retired: ____, ...rest } = group;
  const epoch = group.epoch + RECOVERY_EPOCH_STEP;
  const members = inSync.map((member): InSyncMember => {
    const { life: _____, ...known } = member;
    return known;
  });
  // Members that know of more are to give it up then.
  return { ...rest, epoch, replicas, inSync: members, ...(isLoss ? { lossAcceptedEpoch: epoch } : {}) };
}
