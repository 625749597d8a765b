import type { MemberRecord } from './membership-plan.ts';
import type { MemberList } from './raft-members.ts';
import type { ClusterState, NodeEndpoints, NodeId } from './state/model.ts';
import { isReachable } from './state/node-addresses.ts';

export interface MemberAddress extends MemberRecord {
  readonly endpoints: NodeEndpoints;
}

/** What a node tells another that asks whom the cluster consists of. */
export interface MembersTold {
  /** Those that are to be there, and those that were removed and have a part in the cluster log still. */
  readonly members: readonly MemberAddress[];
  readonly leftIds: readonly NodeId[];
}

export function membersTold(
  { nodes, removedNodes }: ClusterState,
  hasLeft: (nodeId: NodeId) => boolean,
): MembersTold {
  const voteStill = Object.values(removedNodes).filter(({ nodeId }) => !hasLeft(nodeId));
  const members = [...Object.values(nodes), ...voteStill.filter(isReachable)];
  return {
    members: members.map(({ nodeId, raftId, endpoints }) => ({ nodeId, raftId, endpoints })),
    leftIds: Object.keys(removedNodes).filter(hasLeft),
  };
}

/**
 * Whom this node has to do with: the nodes of the configuration as read here, and besides them those of which it
 * knows otherwise, since a node that has been away, or has just come, reads an old configuration.
 */
export class Membership {
  readonly #nodeId: NodeId;
  readonly raftId: number;
  readonly #known = new Map<NodeId, MemberAddress>();

  constructor(nodeId: NodeId, raftId: number, members: readonly MemberAddress[]) {
    this.#nodeId = nodeId;
    this.raftId = raftId;
    this.learn(members);
  }

  /** Members that somebody else has told us of. */
  learn(members: readonly MemberAddress[]): void {
    for (const { nodeId, raftId, endpoints } of members) {
      this.#known.set(nodeId, { nodeId, raftId, endpoints });
    }
  }

  list(state: ClusterState): MemberList {
    const wanted = Object.values(state.nodes);
    const left = Object.values(state.removedNodes);
    this.#learnAll(state);
    return {
      wanted: wanted.map(({ nodeId, raftId, draining }) => ({ nodeId, raftId, leaving: draining === true })),
      others: [...this.#known.values(), ...left],
      left: left.map((node) => node.raftId),
    };
  }

  #learnAll({ nodes, removedNodes }: ClusterState): void {
    this.learn(Object.values(nodes));
    this.learn(Object.values(removedNodes).filter(isReachable));
  }

  /**
   * Those to have links with. One that has been removed stays among them while it is still a member of Raft: its
   * word may be needed, also by those that never knew it before it was removed.
   */
  peers(state: ClusterState, isRaftMember: (raftId: number) => boolean): readonly MemberAddress[] {
    this.#learnAll(state);
    return [...this.#known.values()]
      .filter(({ nodeId }) => nodeId !== this.#nodeId)
      .filter(({ nodeId, raftId }) => !Object.hasOwn(state.removedNodes, nodeId) || isRaftMember(raftId));
  }
}
