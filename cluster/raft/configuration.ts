import type { JointVoters } from './quorum.ts';
import type { ConfState } from './types.ts';

/**
 * Who votes and who only listens.
 *
 * - A node is never voter and learner at once. A voter of the outgoing half that is to become a learner waits
 *   in learnersNext until the joint configuration is left.
 * - Not joint: outgoing and learnersNext are empty and autoLeave is false.
 */
export interface Configuration extends JointVoters {
  readonly learners: ReadonlySet<number>;
  readonly learnersNext: ReadonlySet<number>;
  /** The leader leaves the joint configuration on its own. */
  readonly autoLeave: boolean;
}

export const EMPTY_CONFIGURATION: Configuration = {
  incoming: new Set(),
  outgoing: new Set(),
  learners: new Set(),
  learnersNext: new Set(),
  autoLeave: false,
};

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.size > 0;
}

export function isVoter(configuration: Configuration, id: number): boolean {
  return configuration.incoming.has(id) || configuration.outgoing.has(id);
}

/** The voters of both halves, ascending. */
export function voterIds(configuration: Configuration): readonly number[] {
  return ascending(new Set([...configuration.incoming, ...configuration.outgoing]));
}

export function confStateOf(configuration: Configuration): ConfState {
  return {
    voters: ascending(configuration.incoming),
    votersOutgoing: ascending(configuration.outgoing),
    learners: ascending(configuration.learners),
    learnersNext: ascending(configuration.learnersNext),
    autoLeave: configuration.autoLeave,
  };
}

/** A voter that is to become a learner is in the outgoing half, so learnersNext need not be asked. */
export function isMember(confState: ConfState, id: number): boolean {
  return [confState.voters, confState.learners, confState.votersOutgoing].some((ids) => ids.includes(id));
}

export function ascending(ids: Iterable<number>): readonly number[] {
  return [...ids].sort((a, b) => a - b);
}
