import type { Exhibit } from './exhibit.ts';

/** Of writes that are begun without a wait, several in one turn of the loop, of which the first may go ahead of the others. */
export const BEGUN_WRITE_EXHIBITS: readonly Exhibit[] = [
  {
    name: 'a record that has gone ahead and still grows',
    story:
      'A write becomes part of the record before it, which has left already: it is answered with that one, and is nowhere.',
    edits: [
      {
        file: 'storage/lun/record-batch.ts',
        sound: `    this.#endGrowing();
    const records = this.#records;
    this.#records = [];`,
        faulty: `    this.gone = { record: this.#growing, lun: this.#growingLun };
    this.#endGrowing();
    const records = this.#records;
    this.#records = [];`,
      },
      {
        file: 'storage/lun/record-batch.ts',
        sound: 'const growing = this.#growingLun === lun ? this.#growing : undefined;',
        faulty: `const last = this.#growing === undefined ? this.gone : { record: this.#growing, lun: this.#growingLun };
    const growing = last?.lun === lun ? last.record : undefined;`,
      },
      {
        file: 'storage/replication/write-path.ts',
        sound: 'queueMicrotask(() => this.#sendBatch(era));',
        faulty: 'queueMicrotask(() => { this.#sendBatch(era); this.#batch.gone = undefined; });',
      },
    ],
    seeds: 60,
  },
  {
    name: 'writes of one turn that become one record, though they do not follow each other on the disk',
    story: 'The second of them is put behind the first, over what somebody else has there.',
    edits: [
      {
        file: 'storage/lun/write-records.ts',
        sound:
          'if (firstBlock !== record.firstBlock + record.blockCount || !record.makeRoom(blockCount)) return false;',
        faulty: 'if (!record.makeRoom(blockCount)) return false;',
      },
    ],
    seeds: 20,
  },
  {
    name: 'a write of a part of a block that is begun at once',
    story: 'Nobody has read what is under the rest of the block, and it is whatever the memory held before.',
    edits: [
      {
        file: 'storage/lun/lun-device.ts',
        sound: 'startByte % STORED_BLOCK_BYTES === 0 && lengthBytes % STORED_BLOCK_BYTES === 0;',
        faulty: 'startByte % STORED_BLOCK_BYTES === 0;',
      },
    ],
    seeds: 20,
  },
];
