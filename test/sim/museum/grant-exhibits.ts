import type { Exhibit } from './exhibit.ts';

/** Of leases that an earlier process of a node granted. */
export const GRANT_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a start that forgets what was granted before it',
    story:
      'The last member is started again and serves at once, while one that was fenced still believes that it may.',
    edits: [
      {
        file: 'storage/replication/new-core.ts',
        sound: 'grants: files.wasKnown ? [forgottenGrant(clock.monotonicMs() + grantMs(lastLeaseMs))] : [],',
        faulty: 'grants: [],',
      },
    ],
    seeds: 300,
  },
  {
    name: 'a process that the cluster did not know yet, taken for one that it has let in',
    story:
      'As the last member it was never out of the set: it is the earlier process that is in it at first.',
    edits: [
      {
        file: 'storage/replication/replica-machine.ts',
        sound: '} else if (nodes.some((node) => sameMember(node, core.self))) {',
        faulty: '} else if (nodes.length > 0) {',
      },
    ],
    seeds: 300,
  },
];
