import { invariant } from '../base/errors.ts';
import type { ConfState } from './raft/index.ts';

export interface RaftMember {
  readonly nodeId: string;
  readonly raftId: number;
}

/** Names of the members: Raft knows them by numbers, everyone else by node ids. */
export class RaftMembers {
  readonly #nodeIds: ReadonlyMap<number, string>;
  readonly #raftIds: ReadonlyMap<string, number>;

  constructor(members: readonly RaftMember[]) {
    this.#nodeIds = new Map(members.map((m) => [m.raftId, m.nodeId]));
    this.#raftIds = new Map(members.map((m) => [m.nodeId, m.raftId]));
  }

  nodeIdOf(raftId: number): string | undefined {
    return this.#nodeIds.get(raftId);
  }

  raftIdOf(nodeId: string): number | undefined {
    return this.#raftIds.get(nodeId);
  }

  /** This node's number. @throws InvariantError when it is no member */
  selfOf(nodeId: string): number {
    const raftId = this.#raftIds.get(nodeId);
    invariant(raftId !== undefined, `node ${nodeId} is no member`);
    return raftId;
  }

  /** The configuration a new cluster begins with: every member votes. */
  initialConfState(): ConfState {
    const voters = [...this.#nodeIds.keys()].sort((a, b) => a - b);
    return { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  }
}
