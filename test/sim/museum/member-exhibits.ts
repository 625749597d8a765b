import type { Exhibit } from './exhibit.ts';

/** Of changes of members and joint consensus (Ongaro's dissertation, chapter 4). */
export const MEMBER_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a change of members that is not held against the configuration in force',
    story:
      'A second change goes into the log before the first one has been applied, or into a joint configuration.',
    edits: [
      {
        file: 'cluster/raft/leader.ts',
        sound: 'if (reason !== undefined && !core.config.disableConfChangeValidation) {',
        faulty: 'if (reason !== undefined && core.term === 0) {',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a change of members that does not wait for the one before it',
    story: 'While one change is under way another is made to a configuration that is about to be replaced.',
    edits: [
      {
        file: 'cluster/raft/leader.ts',
        sound: 'if (core.pendingConfIndex > applied) {',
        faulty: 'if (core.pendingConfIndex > applied && core.term === 0) {',
      },
    ],
    seeds: 60,
  },
  {
    name: 'several voters changed at once without joint consensus',
    story: 'Majorities of the voters before and after it need have no member in common.',
    edits: [
      {
        file: 'cluster/raft/conf-changer.ts',
        sound: "if (change.transition === 'auto' && change.changes.length <= 1) return undefined;",
        faulty: "if (change.transition === 'auto') return undefined;",
      },
      {
        file: 'cluster/raft/conf-changer.ts',
        sound: 'if (difference(base.configuration.incoming, changed.configuration.incoming) > 1) {',
        faulty: 'if (difference(base.configuration.incoming, changed.configuration.incoming) > 9) {',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a joint configuration in which the old voters commit alone',
    story: 'Leaving it is committed without a majority of the new ones.',
    edits: [
      {
        file: 'cluster/raft/quorum.ts',
        sound:
          'return Math.min(majorityCommitted(voters.incoming, acked), majorityCommitted(voters.outgoing, acked));',
        faulty:
          'return majorityCommitted(voters.outgoing.size === 0 ? voters.incoming : voters.outgoing, acked);',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a joint configuration in which the new voters commit alone',
    story: 'The old ones, who know of no change yet, elect another leader without what was committed.',
    edits: [
      {
        file: 'cluster/raft/quorum.ts',
        sound:
          'return Math.min(majorityCommitted(voters.incoming, acked), majorityCommitted(voters.outgoing, acked));',
        faulty: 'return majorityCommitted(voters.incoming, acked);',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a joint configuration in which one half elects a leader',
    story: 'Each half elects a leader of its own in the same term.',
    edits: [
      {
        file: 'cluster/raft/quorum.ts',
        sound: 'const halves = [majorityVote(voters.incoming, votes), majorityVote(voters.outgoing, votes)];',
        faulty: 'const halves = [majorityVote(voters.incoming, votes)];',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a removed node that leaves when its start is refused',
    story:
      'It has a vote until the change of members is in force, and those that stay can decide nothing without it.',
    edits: [
      {
        file: 'cluster/cluster-node.ts',
        sound: 'this.registered = this.#registration.done;',
        faulty:
          "(this.registered = this.#registration.done).catch((e) => e.code === 'node-removed' && this.#removed());",
      },
    ],
    seeds: 60,
  },
  {
    name: 'a vote taken and its owner let go in one step',
    story:
      'The leader alone knows that the change is committed. When it fails, the others count on a node that has gone.',
    edits: [
      {
        file: 'cluster/membership-plan.ts',
        sound: "filter((n) => !isWanted(n) && n !== id).map((n) => change('addLearnerNode', n))",
        faulty: "filter((n) => !isWanted(n) && n !== id).map((n) => change('removeNode', n))",
      },
    ],
    seeds: 60,
  },
  {
    name: 'a change of members that is forgotten by who has acknowledged what follows it',
    story: 'After a loss of power the majority that let a node go counts on it again.',
    edits: [
      {
        file: 'cluster/raft-store.ts',
        sound: 'if (change !== undefined) {',
        faulty: 'if (change !== undefined && hardState.term === 0) {',
      },
    ],
    seeds: 3,
    fromSeed: 520021,
  },
];
