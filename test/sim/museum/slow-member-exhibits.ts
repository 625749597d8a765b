import type { Exhibit } from './exhibit.ts';

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
    ],
    seeds: 1,
    fromSeed: 700_008,
  },
];
