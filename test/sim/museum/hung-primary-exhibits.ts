import type { Exhibit } from './exhibit.ts';

/** Of primaries whose disks take nothing and report no error. */
export const HUNG_PRIMARY_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a primary that waits for its own disk however long that is',
    story:
      'Nothing is acknowledged without its copy, and no other member can tell: all clients wait for an administrator.',
    edits: [
      {
        file: 'storage/replication/own-disk.ts',
        sound: 'if (stalledForMs(state) === 0 || nowMs',
        faulty: 'if (stalledForMs(state) >= 0 || nowMs',
      },
    ],
    seeds: 2,
  },
  {
    name: 'a group that is handed over to members that are no better',
    story:
      'What all disks share has failed. The group goes from one to the next, and one copy after the other leaves the set.',
    edits: [
      {
        file: 'storage/replication/own-disk.ts',
        sound: 'return areWell && nowMs',
        faulty: 'return (areWell || nowMs >= 0) && nowMs + 1e9',
      },
    ],
    seeds: 10,
  },
  {
    name: 'a proposal to hand over that waits for the disk',
    story:
      'It stands in the queue of effects behind the file of the epoch, which is what it is proposed for.',
    edits: [
      {
        file: 'storage/replication/effect-runner.ts',
        sound: "if (effect.kind === 'propose' && effect.change.kind === 'handOver') this.#propose(effect);",
        faulty:
          "if (effect.kind === 'propose' && effect.change.kind !== effect.change.kind) this.#propose(effect);",
      },
    ],
    seeds: 40,
  },
];
