import type { Exhibit } from './exhibit.ts';

/** Of what becomes of proposals and questions, which are to be answered once and by what was asked. */
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
];
