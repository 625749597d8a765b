import { ABSENT_FENCE_AFTER_MS, FIRST_START_GRACE_MS, IDLE_FENCE_AFTER_MS } from './limits.ts';
import type { ClusterState, NodeId, NodeRecord } from './state/model.ts';

/**
 * The nodes a leader is to fence: those it has not heard from for too long. Pure.
 * @param silentMs for how long; see Contacts.silentMs
 * @param isAbsent whether its own host says that no such process is there
 */
export function nodesToFence(
  state: ClusterState,
  self: string,
  silentMs: (nodeId: string, incarnation: string | undefined) => number | undefined,
  isAbsent: (nodeId: string) => boolean,
): readonly NodeRecord[] {
  return Object.values(state.nodes).filter((node) => {
    if (node.nodeId === self || node.status === 'fenced') return false;
    const isNew = node.status === 'new';
    // Before its first start a node has no incarnation to be known by.
    const silent = silentMs(node.nodeId, isNew ? undefined : node.incarnation);
    const { fenceAfterMs } = state.settings;
    let limitMs = isNew ? Math.max(FIRST_START_GRACE_MS, fenceAfterMs) : fenceAfterMs;
    if (!othersTakeOver(state, node.nodeId)) limitMs = Math.max(limitMs, IDLE_FENCE_AFTER_MS);
    if (!isNew && isAbsent(node.nodeId)) limitMs = Math.min(limitMs, ABSENT_FENCE_AFTER_MS);
    return silent !== undefined && silent > limitMs;
  });
}

/**
 * Whether anything goes on without the node that stands still with it. Where it is the only member in sync, others wait
 * for it in any case, and where it is none, it is still starting or catching up: fencing it would only begin that anew,
 * and again, for as long as it has too little of its host to be heard in time.
 */
function othersTakeOver(state: ClusterState, nodeId: NodeId): boolean {
  return Object.values(state.portalGroups).some(
    ({ inSync }) => inSync.length > 1 && inSync.some((member) => member.nodeId === nodeId),
  );
}
