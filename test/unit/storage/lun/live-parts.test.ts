import { describe, expect, it } from 'vitest';
import { liveParts } from '../../../../storage/lun/live-parts.ts';
import {
  blockOfWrite,
  decodeGroupRecord,
  encodeControlRecord,
  type GroupRecord,
  type LoggedRecord,
  sealWriteRecord,
  writeHeaderBytes,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { type Lun, LunTable } from '../../../../storage/lun/lun-table.ts';

const EPOCH = 9;
const images = { open: () => Promise.resolve(undefined) };
const base = { name: 'i', version: 1 };

function write(firstBlock: number, blockCount: number, byte: number): Uint8Array {
  const payload = new Uint8Array(writeRecordBytes(blockCount)).fill(byte);
  sealWriteRecord(payload, { epoch: 1, lunId: 1, firstBlock, blockCount });
  return payload;
}

const discard = (firstBlock: number, blockCount: number): Uint8Array =>
  encodeControlRecord({ kind: 'discard', epoch: 1, lunId: 1, firstBlock, blockCount });

/** A LUN after some records, each at a multiple of 100,000. */
class Log {
  readonly table = new LunTable(images, () => {});
  readonly #records: GroupRecord[] = [];

  constructor(...payloads: Uint8Array[]) {
    this.table.restart(1, [{ lunId: 1, generation: 0, base, lengthBlocks: 800 }]);
    for (const [i, payload] of payloads.entries()) {
      const record = decodeGroupRecord(payload);
      this.#records.push(record);
      this.table.hold(1 + i, (1 + i) * 100_000, record);
    }
    this.table.applyHeld(1 + payloads.length);
  }

  get lun(): Lun {
    return this.table.get(1) as Lun;
  }

  live(index: number): LoggedRecord[] {
    return liveParts(this.table, index * 100_000, this.#records[index - 1] as GroupRecord, EPOCH);
  }

  ranges(index: number): (readonly [number, number])[] {
    return this.live(index).map(({ record }) =>
      record.kind === 'write' || record.kind === 'discard'
        ? [record.firstBlock, record.blockCount]
        : [-1, -1],
    );
  }
}

describe('what is live of a record', () => {
  it('is what nothing newer has taken the place of, run by run, as it was and of the present epoch', () => {
    const log = new Log(write(0, 6, 1), write(1, 1, 2), discard(4, 1));
    expect(log.ranges(1)).toEqual([
      [0, 1],
      [2, 2],
      [5, 1],
    ]);
    for (const { payload, record } of log.live(1)) {
      expect(decodeGroupRecord(payload)).toMatchObject({ kind: 'write', epoch: EPOCH });
      if (record.kind !== 'write') throw new Error(record.kind);
      for (let i = 0; i < record.blockCount; i++)
        expect(blockOfWrite(payload, record.blockCount, i).every((byte) => byte === 1)).toBe(true);
    }
  });

  it('is of a record that gave blocks up what has not been written nor given up since', () => {
    const log = new Log(discard(0, 8), write(2, 1, 1), discard(5, 1));
    expect(log.ranges(1)).toEqual([
      [0, 2],
      [3, 2],
      [6, 2],
    ]);
    expect(log.ranges(3)).toEqual([[5, 1]]);
  });

  it('is nothing of a block that something newer is on its way to: written again behind that, it would count', () => {
    const log = new Log(write(0, 3, 1), discard(8, 3));
    const bytes = new Uint8Array(4096);
    log.lun.inFlight.note({ index: 3, firstBlock: 1, blockCount: 1, bytes, dataAt: 0 });
    log.lun.inFlight.note({ index: 4, firstBlock: 8, blockCount: 1, bytes, dataAt: 0 });
    expect(log.ranges(1)).toEqual([
      [0, 1],
      [2, 1],
    ]);
    expect(log.ranges(2)).toEqual([[9, 2]]);
    log.lun.inFlight.forget(3);
    expect(log.ranges(1)).toEqual([[0, 3]]);
  });

  it('is nothing of a LUN that is about to begin anew: behind the reset it would be of the new one', () => {
    const log = new Log(write(0, 3, 1));
    log.table.noteEnding(1, 2);
    expect(log.live(1)).toEqual([]);
    log.table.forgetInFlight(2);
    expect(log.ranges(1)).toEqual([[0, 3]]);
  });

  it('is not made whole where a block is damaged: its checksum is not to be made right', () => {
    const payload = write(0, 2, 1);
    const log = new Log(payload);
    payload[writeHeaderBytes(2) + 4096 + 7] = 0;
    expect(log.live(1)).toEqual([]);
  });
});
