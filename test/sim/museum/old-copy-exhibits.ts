import type { Exhibit } from './exhibit.ts';

/** Directories that are what they were some time ago. */
export const OLD_COPY_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a last copy that is not asked for its life',
    story:
      'A backup takes the place of the last copy in sync. It has the id of that directory, and is served.',
    edits: [
      {
        file: 'cluster/state/nodes.ts',
        sound: '(isOther || isOldCopy(member, told))',
        faulty: 'isOther',
      },
    ],
    seeds: 3,
    fromSeed: 360_105,
  },
  {
    name: 'a former life that is forgotten before the next one is committed',
    story:
      'A process writes down a new life of the last copy, by which the cluster does not know it yet: the group waits for good.',
    edits: [
      {
        file: 'cluster/state/lives.ts',
        sound: '[...told.former, told.life]',
        faulty: '[told.life]',
      },
    ],
    seeds: 5,
    fromSeed: 360_101,
  },
];
