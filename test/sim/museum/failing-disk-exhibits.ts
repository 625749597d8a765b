import type { Exhibit } from './exhibit.ts';

/** Of disks that fail to sync. */
export const FAILING_DISK_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'an fsync that failed and is tried again',
    story:
      'The system has taken the pages for clean, the next fsync succeeds, and with the power goes what was acknowledged.',
    edits: [
      {
        file: 'storage/replication/log-writer.ts',
        sound: `        this.#syncing = false;
        this.#onError(error, cut);`,
        faulty: `        this.#syncing = false;
        if (error instanceof Error && !this.#stopped) this.sync(this.#cut, Number.POSITIVE_INFINITY);`,
      },
    ],
    seeds: 20,
    fromSeed: 150,
  },
];
