import type { Exhibit } from './exhibit.ts';

/** Of what becomes of proposals, which are to be carried out once, and of recovery from a single node. */
export const PROPOSAL_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'proposals of one turn that are proposed once more one by one',
    story: 'Those that were taken together are in the log twice.',
    edits: [
      {
        file: 'cluster/proposal-intake.ts',
        sound: "if (raw.proposeAll(timely.map(({ data }) => data)).outcome === 'accepted') return;",
        faulty: 'raw.proposeAll(timely.map(({ data }) => data));',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a forwarded proposal taken in a later term',
    story: 'Whoever made it has been told that it never will be; it may even have asked again.',
    edits: [
      {
        file: 'cluster/proposal-intake.ts',
        sound: "} else if (raw.role === 'leader' && raw.term === proposal.term) {",
        faulty: "} else if (raw.role === 'leader') {",
      },
    ],
    seeds: 60,
  },
  {
    name: 'a recovery that leaves out what was not applied yet',
    story: 'The last node that is left has entries in its log that it had not applied; some were decided.',
    edits: [
      {
        file: 'cluster/recovery.ts',
        sound: 'const state = withEntries(start, store, from);',
        faulty: 'const state = from < 0 ? withEntries(start, store, from) : start;',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a recovery that leaves the lost nodes in',
    story: 'They come back with what they had and are members of a cluster that has gone on without them.',
    edits: [
      {
        file: 'cluster/state/recovery.ts',
        sound: 'const lost = all.filter((node) => !survivors.includes(node.nodeId));',
        faulty: 'const lost = all.filter((node) => !node.nodeId);',
      },
      {
        file: 'cluster/state/recovery.ts',
        sound: 'all.filter((node) => survivors.includes(node.nodeId)).map(',
        faulty: 'all.map(',
      },
    ],
    seeds: 60,
  },
];
