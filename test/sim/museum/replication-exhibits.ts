import type { Exhibit } from './exhibit.ts';

/** Of portal-group replication. */
export const REPLICATION_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'compaction that writes a block again over something newer on its way',
    story: 'What a client has just been told is written is replaced by what was there before.',
    edits: [
      {
        file: 'storage/lun/live-parts.ts',
        sound: 'lun.blocks.position(block) === at && !lun.inFlight.has(block)',
        faulty: 'lun.blocks.position(block) === at',
      },
    ],
    seeds: 300,
  },
  {
    name: 'compaction that carries blocks past a reset of their disk',
    story: 'Blocks of a disk that was begun anew come back.',
    edits: [
      {
        file: 'storage/lun/live-parts.ts',
        sound: 'if (lun === undefined || lun.endingIndex !== Number.POSITIVE_INFINITY) return [];',
        faulty: 'if (lun === undefined) return [];',
      },
    ],
    seeds: 400,
  },
  {
    name: 'a member that is sent a void for what is still in use',
    story: 'One that caught up joins, and blocks are gone once it is primary.',
    edits: [
      {
        file: 'storage/lun/superseded.ts',
        sound: 'if (newest <= at || newest >= until.position) return false;',
        faulty: 'if (newest >= until.position) return false;',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a log that lets go of blocks still in use',
    story: 'Segments are removed that still hold the only copy of a block.',
    edits: [
      {
        file: 'storage/replication/log-trimmer.ts',
        sound: 'Math.min(this.#table.firstNeededIndex(), this.#view.commitIndex, keepFrom)',
        faulty: 'Math.min(this.#view.commitIndex, keepFrom)',
      },
    ],
    seeds: 60,
  },
  {
    name: 'a read that is answered without a look at the lease',
    story: 'A primary that was replaced while it stood still answers from the past.',
    edits: [
      {
        file: 'storage/replication/write-path.ts',
        sound: 'if (primary !== undefined && isServing(primary, nowMs)) return undefined;',
        faulty: 'if (primary !== undefined) return undefined;',
      },
    ],
    seeds: 300,
  },
];
