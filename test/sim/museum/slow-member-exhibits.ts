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
        sound:
          "if (state.phase === 'serving' && nowMs - member.leaseUntilMs >= LEASE_LAPSED_MS) return true;",
        faulty: '',
      },
    ],
    seeds: 2,
    fromSeed: 69,
  },
];
