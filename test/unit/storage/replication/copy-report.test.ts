import { describe, expect, it } from 'vitest';
import {
  decodeGroupRecord,
  type GroupRecord,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { CopyReader, hasHoles } from '../../../../storage/replication/copy-report.ts';
import type { GroupMeta } from '../../../../storage/replication/group-meta.ts';

const LUN = { lunId: 1, generation: 1, lengthBlocks: 100, base: { name: 'i', version: 1 } };
const META: GroupMeta = {
  epoch: 3,
  leaseMs: 800,
  baseIndex: 2,
  luns: [LUN],
  lunsIndex: 2,
  epochs: [{ epoch: 3, startIndex: 1 }],
  resetting: false,
};

/** A write of so many blocks, some of which are damaged. */
function write(firstBlock: number, blockCount: number, damaged: readonly number[] = []): GroupRecord {
  const payload = new Uint8Array(writeRecordBytes(blockCount)).fill(7);
  sealWriteRecord(payload, { epoch: 3, lunId: 1, firstBlock, blockCount });
  const dataAt = payload.length - blockCount * 4096;
  for (const i of damaged) payload[dataAt + i * 4096 + 9] = (payload[dataAt + i * 4096 + 9] as number) ^ 1;
  return decodeGroupRecord(payload);
}

describe('the report on a copy', () => {
  it('counts damaged blocks until something later is written in their place', () => {
    const reader = new CopyReader(META);
    reader.take(2, write(0, 4));
    reader.take(3, write(10, 4, [1, 2, 3]), true);
    expect(reader.report(4)).toMatchObject({
      damagedBlocks: [{ lunId: 1, blockCount: 3 }],
      missingBlocks: [],
    });
    expect(hasHoles(reader.report(4))).toBe(true);
    reader.take(4, write(12, 1));
    expect(reader.report(5).damagedBlocks).toEqual([{ lunId: 1, blockCount: 2 }]);
    reader.take(5, { kind: 'discard', epoch: 3, lunId: 1, firstBlock: 0, blockCount: 20 });
    expect(hasHoles(reader.report(6))).toBe(false);
    reader.take(6, write(10, 4, [0]), true);
    reader.take(7, { kind: 'dropLun', epoch: 3, lunId: 1 });
    expect(hasHoles(reader.report(8))).toBe(false);
  });

  it('does not count those of a disk that was begun anew later', () => {
    const reader = new CopyReader({ ...META, luns: [{ ...LUN, generation: 9 }] });
    reader.take(3, write(10, 4, [1]), true);
    expect(hasHoles(reader.report(10))).toBe(false);
  });
});
