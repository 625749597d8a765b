import { endpointsOfGroup } from './data-plane-workers.ts';
import type { ClientRecord, ClusterState, NodeId } from './model.ts';

/** One portal at which a client finds its disk. */
export interface TargetPath {
  readonly address: string;
  readonly port: number;
  /** Target portal group tag; to SCSI the target port group, and the relative identifier of its one port. */
  readonly tag: number;
  /** Absent: the portal that moves with the group. */
  readonly nodeId?: NodeId;
}

/** Of the portal that moves, on whichever node it is: initiators that start from an iBFT take it for granted. */
export const MOVABLE_PORTAL_TAG = 1;

/** Raft ids begin at 1 and are never given again, so no tag ever stands for another node. */
export function portalTagOf(node: { readonly raftId: number }): number {
  return MOVABLE_PORTAL_TAG + node.raftId;
}

/** The portal that moves, and for a client with several paths those of all nodes that keep a copy of its disk. */
export function targetPaths(state: ClusterState, client: ClientRecord): readonly TargetPath[] {
  const group = state.portalGroups[client.portalGroup];
  if (group === undefined) return [];
  const movable = { address: group.address, port: group.port, tag: MOVABLE_PORTAL_TAG };
  if (client.multipath !== true) return [movable];
  const fixed = group.replicas.flatMap((nodeId) => {
    const node = state.nodes[nodeId];
    if (node === undefined) return [];
    const [address = '', port = ''] = endpointsOfGroup(node, group.id).iscsi.split(':');
    return [{ address, port: Number(port), tag: portalTagOf(node), nodeId }];
  });
  return [movable, ...fixed];
}
