import type { ClusterState, NodeId, PortalGroupId, PortalGroupRecord } from '../../cluster/state/model.ts';
import { MOVABLE_PORTAL_TAG, portalTagOf } from '../../cluster/state/target-paths.ts';
import {
  type AccessState,
  accessState,
  type TargetPaths,
  type TargetPortGroup,
} from '../scsi/access-state.ts';

/** What a node knows of its own part in a portal group. */
interface OwnPart {
  readonly nodeId: NodeId;
  /** It serves the group, or did a moment ago and its sessions wait for the lease. */
  readonly isActive: boolean;
}

/**
 * The target port groups of the disks of a portal group, for those with several paths: the portal that moves, and
 * one of each node that keeps a copy. States of other nodes' are as the configuration has it.
 */
export function targetPortGroups(
  state: ClusterState,
  group: PortalGroupRecord,
  own: OwnPart,
): readonly TargetPortGroup[] {
  const ofPrimary =
    group.primary === own.nodeId && !own.isActive ? accessState.transitioning : accessState.activeOptimized;
  const movable = group.primary === undefined ? accessState.unavailable : ofPrimary;
  const inSync = new Set(group.inSync.map((member) => member.nodeId));
  const stateOf = (nodeId: NodeId): AccessState => {
    if (nodeId === group.primary) return ofPrimary;
    return inSync.has(nodeId) && state.nodes[nodeId]?.status === 'up'
      ? accessState.standby
      : accessState.unavailable;
  };
  const fixed = group.replicas.flatMap((nodeId) => {
    const node = state.nodes[nodeId];
    if (node === undefined) return [];
    const tag = portalTagOf(node);
    return [{ tag, state: stateOf(nodeId), preferred: false, ports: [tag] }];
  });
  return [
    { tag: MOVABLE_PORTAL_TAG, state: movable, preferred: true, ports: [MOVABLE_PORTAL_TAG] },
    ...fixed,
  ];
}

interface Known {
  readonly groups: readonly TargetPortGroup[];
  readonly byTag: ReadonlyMap<number, AccessState>;
  readonly text: string;
}

export interface GroupPathsOptions {
  readonly nodeId: NodeId;
  readonly isActive: (groupId: PortalGroupId) => boolean;
  /** The access state of a path to the disks of a group has changed. */
  readonly onChange: (groupId: PortalGroupId) => void;
}

/** The paths to the disks of each portal group, as they are now. */
export class GroupPaths {
  readonly #options: GroupPathsOptions;
  readonly #known = new Map<PortalGroupId, Known>();
  #state: ClusterState | undefined;

  constructor(options: GroupPathsOptions) {
    this.#options = options;
  }

  applyState(state: ClusterState): void {
    this.#state = state;
    for (const id of Object.keys(state.portalGroups)) this.refresh(id);
  }

  /** This node's part in a group has changed. */
  refresh(groupId: PortalGroupId): void {
    const { nodeId, isActive, onChange } = this.#options;
    const group = this.#state?.portalGroups[groupId];
    if (this.#state === undefined || group === undefined) return;
    const groups = targetPortGroups(this.#state, group, { nodeId, isActive: isActive(groupId) });
    const text = JSON.stringify(groups);
    const before = this.#known.get(groupId);
    if (before?.text === text) return;
    const byTag = new Map(groups.map(({ tag, state }) => [tag, state]));
    this.#known.set(groupId, { groups, byTag, text });
    if (before !== undefined) onChange(groupId);
  }

  /** The paths to a disk of the group, for a session that came by the portal with this tag. */
  by(groupId: PortalGroupId, tag: number): TargetPaths {
    return {
      ownPort: tag,
      groups: () => this.#known.get(groupId)?.groups ?? [],
      ownState: () => this.#known.get(groupId)?.byTag.get(tag) ?? accessState.unavailable,
    };
  }
}
