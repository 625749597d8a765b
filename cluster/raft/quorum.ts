/** Majorities, of one set of voters and of two at once (joint consensus: a decision needs both). */

export type VoteResult = 'won' | 'lost' | 'pending';

/** The index a voter has acknowledged, undefined when it has not reported. */
export type AckedIndex = (id: number) => number | undefined;

export interface JointVoters {
  readonly incoming: ReadonlySet<number>;
  /** Empty unless the configuration is joint. */
  readonly outgoing: ReadonlySet<number>;
}

function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

/** The highest index that a majority has; Infinity for no voters, which makes the other half decide. */
export function majorityCommitted(voters: ReadonlySet<number>, acked: AckedIndex): number {
  if (voters.size === 0) return Number.POSITIVE_INFINITY;
  // Insertion into the few there are, highest first: this runs for every acknowledgement.
  const indexes: number[] = [];
  for (const id of voters) {
    const index = acked(id) ?? 0;
    let place = indexes.length;
    for (; place > 0 && (indexes[place - 1] as number) < index; place--)
      indexes[place] = indexes[place - 1] as number;
    indexes[place] = index;
  }
  return indexes[majorityOf(voters.size) - 1] as number;
}

/** An election among no voters is won, which makes the other half decide. */
export function majorityVote(voters: ReadonlySet<number>, votes: ReadonlyMap<number, boolean>): VoteResult {
  if (voters.size === 0) return 'won';
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const needed = majorityOf(voters.size);
  if (granted >= needed) return 'won';
  return granted + missing >= needed ? 'pending' : 'lost';
}

export function jointCommitted(voters: JointVoters, acked: AckedIndex): number {
  return Math.min(majorityCommitted(voters.incoming, acked), majorityCommitted(voters.outgoing, acked));
}

/** Lost as soon as one half has lost, won only when both have won. */
export function jointVote(voters: JointVoters, votes: ReadonlyMap<number, boolean>): VoteResult {
  const halves = [majorityVote(voters.incoming, votes), majorityVote(voters.outgoing, votes)];
  if (halves.includes('lost')) return 'lost';
  return halves.includes('pending') ? 'pending' : 'won';
}
