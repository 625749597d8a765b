import type { Exhibit } from './exhibit.ts';

/** Of groups that an administrator had go on from a copy that lacks what was acknowledged. */
export const LESSER_COPY_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a member from before an accepted loss that is let in with the log it has',
    story:
      'Parts of its log stand for records that were given up. It is taken for as good as the others, and its blocks differ.',
    edits: [
      {
        file: 'storage/replication/primary-machine.ts',
        sound: 'if (agreed < log.baseIndex || isFromBeforeLoss(state.group, frame.epochs)) return',
        faulty:
          'if (agreed < log.baseIndex || (agreed < 0 && isFromBeforeLoss(state.group, frame.epochs))) return',
      },
    ],
    seeds: 10,
  },
];
