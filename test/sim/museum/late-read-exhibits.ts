import type { Exhibit } from './exhibit.ts';

/** Of reads that are under way when another member follows. */
export const LATE_READ_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a lease that is asked for before a read, and not after it',
    story:
      'The disk, or a pause of the process, holds the read up for longer than the lease. It is answered when another node serves.',
    edits: [
      {
        file: 'storage/lun/lun-device.ts',
        sound: `      const parts = await readCommitted(this.#lun, this.#host, startByte, endByte);
      const confirmation = this.#host.confirmServing();
      if (confirmation !== undefined) await confirmation;`,
        faulty: `      const confirmation = this.#host.confirmServing();
      if (confirmation !== undefined) await confirmation;
      const parts = await readCommitted(this.#lun, this.#host, startByte, endByte);`,
      },
    ],
    seeds: 10,
  },
];
