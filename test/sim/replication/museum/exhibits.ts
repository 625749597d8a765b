/** A fault put into a copy of the sources by replacing some lines, which must be there exactly once. */
export interface Exhibit {
  readonly name: string;
  readonly file: string;
  readonly sound: string;
  readonly faulty: string;
  /** The simulator must find it within the seeds from 1 to this. */
  readonly seeds: number;
}

export const EXHIBITS: readonly Exhibit[] = [
  {
    name: 'compaction that writes a block again over something newer on its way',
    file: 'storage/lun/live-parts.ts',
    sound: 'lun.blocks.position(block) === at && !lun.inFlight.has(block)',
    faulty: 'lun.blocks.position(block) === at',
    seeds: 300,
  },
  {
    name: 'compaction that carries blocks past a reset of their disk',
    file: 'storage/lun/live-parts.ts',
    sound: 'if (lun === undefined || lun.endingIndex !== Number.POSITIVE_INFINITY) return [];',
    faulty: 'if (lun === undefined) return [];',
    seeds: 400,
  },
  {
    name: 'a log that lets go of blocks still in use',
    file: 'storage/replication/log-trimmer.ts',
    sound: 'Math.min(this.#table.firstNeededIndex(), this.#view.commitIndex, keepFrom)',
    faulty: 'Math.min(this.#view.commitIndex, keepFrom)',
    seeds: 60,
  },
  {
    name: 'a read that is answered without a look at the lease',
    file: 'storage/replication/write-path.ts',
    sound: 'if (primary !== undefined && isServing(primary, nowMs)) return undefined;',
    faulty: 'if (primary !== undefined) return undefined;',
    seeds: 300,
  },
];
