import { type ConfChange, decodeConfChange } from '../../../cluster/raft/index.ts';
import type { SeenEntry } from './raft-view.ts';

/** By Raft id. A decision needs a majority of each half; there is no other half unless the configuration is joint. */
export interface Voters {
  readonly incoming: ReadonlySet<number>;
  readonly outgoing: ReadonlySet<number>;
}

/** Who votes at each place of the committed log, worked out here and not by the code under test. */
export class VoterHistory {
  /** Each in force once everything up to its index has been applied; ascending. */
  readonly #steps: { readonly index: number; readonly voters: Voters }[];

  /** @param index where the log begins, with these voters */
  constructor(first: Iterable<number>, index: number) {
    this.#steps = [{ index, voters: { incoming: new Set(first), outgoing: new Set() } }];
  }

  /** How many joint configurations there have been. */
  get jointCount(): number {
    return this.#steps.filter(({ voters }) => voters.outgoing.size > 0).length;
  }

  get fewest(): number {
    const halves = this.#steps.flatMap(({ voters }) => [voters.incoming.size, voters.outgoing.size]);
    return Math.min(...halves.filter((size) => size > 0));
  }

  get changeCount(): number {
    return this.#steps.length - 1;
  }

  /** The next entry of the log has been committed. */
  committed({ index, change }: SeenEntry): void {
    if (change === undefined) return;
    const { voters } = this.#steps.at(-1) as { readonly voters: Voters };
    this.#steps.push({ index, voters: votersAfter(voters, decodeConfChange(change)) });
  }

  /** Since when the node has had no vote, after it had one, and who has votes now; undefined: it never had one, or has it. */
  lostVote(raftId: number): { readonly index: number; readonly voters: Voters } | undefined {
    const last = this.#steps.findLastIndex(({ voters }) => hasVote(voters, raftId));
    const after = this.#steps[last + 1];
    const newest = this.#steps.at(-1);
    if (last < 0 || after === undefined || newest === undefined) return undefined;
    return { index: after.index, voters: newest.voters };
  }

  /** As of all that is committed. */
  votes(raftId: number): boolean {
    const newest = this.#steps.at(-1);
    return newest !== undefined && hasVote(newest.voters, raftId);
  }

  /** What a node can have taken for the configuration while it had applied from `low` up to `high`. */
  between(low: number, high: number): Voters[] {
    const from = this.#steps.findLastIndex((step) => step.index <= low);
    return this.#steps
      .slice(Math.max(0, from))
      .filter((step, i) => i === 0 || step.index <= high)
      .map((step) => step.voters);
  }
}

/** Ongaro's joint consensus (dissertation §4.3), for more than one change at a time. */
function votersAfter({ incoming }: Voters, { transition, changes }: ConfChange): Voters {
  if (transition === 'auto' && changes.length === 0) return { incoming, outgoing: new Set() };
  const next = new Set(incoming);
  for (const { type, nodeId } of changes) {
    if (type === 'addNode') next.add(nodeId);
    else if (type === 'removeNode' || type === 'addLearnerNode') next.delete(nodeId);
  }
  const isJoint = transition !== 'auto' || changes.length > 1;
  return { incoming: next, outgoing: isJoint ? incoming : new Set() };
}

function hasVote({ incoming, outgoing }: Voters, raftId: number): boolean {
  return incoming.has(raftId) || outgoing.has(raftId);
}

export function isQuorum({ incoming, outgoing }: Voters, agreeing: ReadonlySet<number>): boolean {
  return [incoming, outgoing].every((half) => {
    const agreed = [...half].filter((id) => agreeing.has(id)).length;
    return half.size === 0 || agreed * 2 > half.size;
  });
}

export function describeVoters({ incoming, outgoing }: Voters): string {
  const list = (half: ReadonlySet<number>): string => [...half].sort((a, b) => a - b).join(',');
  return outgoing.size === 0 ? list(incoming) : `${list(incoming)} and ${list(outgoing)} jointly`;
}
