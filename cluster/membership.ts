import type { MemberRecord } from './membership-plan.ts';
import type { MemberList } from './raft-members.ts';
import type { ClusterState, NodeEndpoints, NodeId } from './state/model.ts';

export interface MemberAddress extends MemberRecord {
  readonly endpoints: NodeEndpoints;
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
    this.learn(wanted);
    return {
      wanted: wanted.map(({ nodeId, raftId, draining }) => ({ nodeId, raftId, leaving: draining === true })),
      others: [...this.#known.values(), ...left],
      left: left.map((node) => node.raftId),
    };
  }

  /**
   * Those to have links with. One that has been removed stays among them while it is still a member of Raft: its
   * word may be needed for its own leaving.
   */
  peers(state: ClusterState, isRaftMember: (raftId: number) => boolean): readonly MemberAddress[] {
    this.learn(Object.values(state.nodes));
    return [...this.#known.values()]
      .filter(({ nodeId }) => nodeId !== this.#nodeId)
      .filter(({ nodeId, raftId }) => !Object.hasOwn(state.removedNodes, nodeId) || isRaftMember(raftId));
  }
}
