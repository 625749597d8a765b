import { MEMBERSHIP_RETRY_MS } from './limits.ts';
import { type MemberRecord, planMembership, type WantedMember } from './membership-plan.ts';
import type { ConfState, RawNode } from './raft/index.ts';

export interface MemberList {
  readonly wanted: readonly WantedMember[];
  /** Those that have left, and any that the configuration read here does not know yet. */
  readonly others: readonly MemberRecord[];
  /** Raft ids of those that have left. */
  readonly left: readonly number[];
  /** Raft ids of those that had votes when this node last noted it, before its start; none: not known. */
  readonly noted?: readonly number[];
}

/**
 * Who is behind each Raft id, and the leader's part in making Raft's members the wanted ones. The names of nodes
 * that have left stay known, since they may still be members for a moment.
 */
export class RaftMembers {
  readonly own: MemberRecord;
  readonly #firstVoters: readonly number[];
  #list: MemberList;
  #nodeIds: ReadonlyMap<number, string> = new Map();
  #raftIds: ReadonlyMap<string, number> = new Map();
  /** The configuration for which a step was taken, and when it may be taken again. */
  #asked: { readonly confState: string; readonly againAtMs: number } | undefined;

  /** @param firstVoters see RaftLogOptions */
  constructor(own: MemberRecord, firstVoters: readonly number[], list: MemberList) {
    this.own = own;
    this.#firstVoters = firstVoters;
    this.#list = list;
    this.update(list);
  }

  update(list: MemberList): void {
    this.#list = list;
    const all = [...list.others, ...list.wanted, this.own];
    this.#nodeIds = new Map(all.map((m) => [m.raftId, m.nodeId]));
    this.#raftIds = new Map(all.map((m) => [m.nodeId, m.raftId]));
    this.#asked = undefined;
  }

  /** The configuration before the first entry. A node that came later is not in it, and so cannot campaign. */
  initialConfState(): ConfState {
    const voters = this.#firstVoters.toSorted((a, b) => a - b);
    return { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  }

  /** The other members as far as they are known, those that have left included. */
  get others(): readonly MemberRecord[] {
    const { others, wanted } = this.#list;
    const all = new Map([...others, ...wanted].map((m) => [m.raftId, m]));
    all.delete(this.own.raftId);
    return [...all.values()];
  }

  /** Raft ids of those that are wanted, or were there at the beginning where no configuration is known. */
  get voterIds(): readonly number[] {
    const wanted = this.#list.wanted.map((m) => m.raftId);
    return wanted.length > 0 ? wanted : this.#firstVoters;
  }

  /**
   * Whether there is nobody from whom this node could fetch what it has lost: no other node is wanted, and those that
   * were removed and had votes still are no majority without it, which it would take.
   */
  get isAlone(): boolean {
    const { noted = [] } = this.#list;
    const others = noted.filter((id) => id !== this.own.raftId);
    return this.voterIds.every((id) => id === this.own.raftId) && others.length * 2 <= noted.length;
  }

  nodeIdOf(raftId: number): string | undefined {
    return this.#nodeIds.get(raftId);
  }

  raftIdOf(nodeId: string): number | undefined {
    return this.#raftIds.get(nodeId);
  }

  /** Whether a node is wanted no more and is no member of Raft any more either: what it says is of no account. */
  hasLeft(raftId: number, raw: RawNode): boolean {
    if (!this.#list.left.includes(raftId)) return false;
    const { voters, learners, votersOutgoing } = raw.status().confState;
    return ![...voters, ...learners, ...votersOutgoing].includes(raftId);
  }

  /**
   * Takes the next step, if there is one to take.
   * @param isUp whether there is a link to the node
   */
  reconcile(raw: RawNode, nowMs: number, isUp: (nodeId: string) => boolean): void {
    const status = raw.status();
    // Before its first entry a leader does not know whether a change is under way.
    if (status.role !== 'leader' || !raw.hasAppliedInTerm()) return;
    const confState = JSON.stringify(status.confState);
    if (this.#asked?.confState === confState && nowMs < this.#asked.againAtMs) return;
    const step = planMembership(status, this.#list.wanted, (id) => isUp(this.#nodeIds.get(id) ?? ''));
    if (step === undefined) return;
    this.#asked = { confState, againAtMs: nowMs + MEMBERSHIP_RETRY_MS };
    if (step.kind === 'transfer') raw.transferLeader(step.to);
    else raw.proposeConfChange({ transition: 'auto', changes: step.changes, context: new Uint8Array(0) });
  }
}

/** Raft ids of all who have votes, those included whom a change under way takes them from. */
export function votersOf({ voters, votersOutgoing }: ConfState): readonly number[] {
  return [...new Set([...voters, ...votersOutgoing])];
}
