import type { Edit, Exhibit } from './exhibit.ts';

const NO_RULE_OF_PACE: Edit = {
  file: 'storage/replication/slow-members.ts',
  sound: 'if (!state.isAnySlow || state.phase',
  faulty: 'if (nowMs >= 0 || state.phase',
};

/** Of members that go on all the while, slowly. */
export const SLOW_MEMBER_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a slow member that is waited for however long that takes',
    story: 'All clients of a group go at the pace of the slowest disk.',
    edits: [
      {
        file: 'storage/replication/primary-membership.ts',
        sound: 'return arrearsMs >= ARREARS_MAX_MS || Math.min(arrearsMs, standstillMs) >= slowMs;',
        faulty: 'return arrearsMs > ARREARS_MAX_MS * slowMs * standstillMs + 1e9;',
      },
    ],
    seeds: 10,
  },
  {
    name: 'a member that is just fast enough, and sets the pace of all',
    story:
      'One disk of three is slow, steadily, and every write of every client of the group takes 800 ms for ever.',
    edits: [NO_RULE_OF_PACE],
    seeds: 1,
    fromSeed: 97,
  },
  {
    name: 'a last redundant copy that is given up for speed',
    story:
      'One of two disks is slow, and soon there is one copy left of what was acknowledged as written twice.',
    edits: [
      {
        file: 'storage/replication/slow-members.ts',
        sound: 'return inReach - 1 >= neededInSync(state) ? slowest?.nodeId : undefined;',
        faulty: 'return inReach - 1 >= 1 ? slowest?.nodeId : undefined;',
      },
    ],
    seeds: 12,
  },
  {
    name: 'a member whose answers are steady, and too old for the lease to hold',
    story: 'Heartbeats wait behind data on a slow link, and nothing is served for as long as clients write.',
    edits: [
      {
        file: 'storage/replication/primary-membership.ts',
        sound: 'if (!isLapsed || nowMs < state.patientUntilMs) return undefined;',
        faulty: 'if (!isLapsed || nowMs >= 0) return undefined;',
      },
    ],
    seeds: 2,
    fromSeed: 69,
  },
  {
    name: 'a lease that counts as held until its end, though it was over when it came',
    story:
      'Answers come twice a second, each a moment too late, and nothing is served for as long as clients write.',
    edits: [
      {
        file: 'storage/replication/primary-membership.ts',
        sound: 'if (untilMs <= nowMs) return;',
        faulty: 'if (untilMs <= 0) return;',
      },
      // Which puts such a member out of a set of three before long, for another reason.
      NO_RULE_OF_PACE,
    ],
    seeds: 1,
    fromSeed: 700_008,
  },
];
