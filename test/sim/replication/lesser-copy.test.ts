import { describe, expect, it } from 'vitest';
import { blockOfWrite, decodeGroupRecord } from '../../../storage/lun/log-record.ts';
import { type CopyReading, type CopyReport, hasHoles } from '../../../storage/replication/copy-report.ts';
import { decodeGroupMeta } from '../../../storage/replication/group-meta.ts';
import type { Disk } from './disk.ts';
import { differenceBetween } from './disk-content.ts';
import { differenceFrom, halfFilled, runLesserCopies } from './lesser-copies.ts';
import { GROUP, LesserCopy } from './lesser-copy.ts';

const SEEDS = [1, 2, 3, 4];
const NODES = ['n1', 'n2', 'n3'];
const TIMEOUT_MS = 120_000;

function lunsIndexOf(disk: Disk): number {
  return decodeGroupMeta(disk.meta.get(GROUP) as Uint8Array).lunsIndex;
}

/** Blocks that were written with this value, by a log. */
function writesOf(disk: Disk, value: number): number {
  const writes = disk.records.map(({ payload }) => decodeGroupRecord(payload));
  return writes.reduce((sum, record) => {
    const isOne = record.kind === 'write' && blockOfWrite(record.payload, record.blockCount, 0)[0] === value;
    return isOne ? sum + record.blockCount : sum;
  }, 0);
}

async function reportOf(fabric: LesserCopy, nodeId: string): Promise<CopyReport> {
  const ask = (): CopyReading | undefined => fabric.group(nodeId)?.readCopy();
  await fabric.until('the copy is read', () => ask()?.kind === 'read');
  return (ask() as Extract<CopyReading, { kind: 'read' }>).report;
}

async function convergesFrom(fabric: LesserCopy, nodeId: string): Promise<void> {
  expect(await differenceFrom(fabric, nodeId)).toBeUndefined();
}

describe('a group started from a lesser copy', { timeout: TIMEOUT_MS }, () => {
  it.each(SEEDS)('takes no part of a copy that relies on what was given up (seed %i)', async (seed) => {
    const fabric = await halfFilled(seed);
    await convergesFrom(fabric, 'n2');
    expect(await fabric.read('n2', 3)).toBe(2);
  });

  it.each(SEEDS)('goes on from one that lacks what its own list of LUNs knows of (seed %i)', async (seed) => {
    const fabric = new LesserCopy({ seed, trims: true });
    for (const nodeId of NODES) fabric.start(nodeId);
    for (const lunId of [1, 2, 3]) await fabric.makeDisk('n1', lunId);
    await fabric.inSync(NODES);
    await fabric.write('n1', [1, 2, 3], 2);
    for (const nodeId of ['n2', 'n3']) fabric.end(nodeId);
    await fabric.inSync(['n1']);
    await fabric.write('n1', [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 2);
    await fabric.write('n1', [1], 3);
    await fabric.write('n1', [15], 2);
    const { nextIndex: begunAnew } = fabric.disk('n1');
    for (const lunId of [1, 3]) await fabric.makeDisk('n1', lunId);
    await fabric.until('the list of LUNs is newer', () => lunsIndexOf(fabric.disk('n1')) > begunAnew);
    fabric.disk('n3').msPerMib = 4_000;
    fabric.start('n3');
    await fabric.until('n3 is sent something', () => {
      const { firstIndex, records, nextIndex } = fabric.disk('n3');
      return firstIndex > 1 && records.length > 0 && nextIndex < lunsIndexOf(fabric.disk('n3'));
    });
    fabric.cutShort('n3');
    fabric.end('n1');
    fabric.start('n3');
    await fabric.run(300);
    const { missingRecords } = await reportOf(fabric, 'n3');
    expect(missingRecords).toBe(lunsIndexOf(fabric.disk('n3')) - fabric.disk('n3').nextIndex);
    expect(missingRecords).toBeGreaterThan(0);
    await convergesFrom(fabric, 'n3');
    await fabric.write('n3', [20]);
    // The first write after the start, which has the number of a record that was given up, and the last.
    expect([await fabric.read('n3', 767), await fabric.read('n3', 0)]).toEqual([20, 20]);
    await fabric.run(500);
    expect(differenceBetween(fabric.disks(), GROUP)).toBeUndefined();
  });

  it.each(SEEDS)('is the same on all members where that copy has holes (seed %i)', async (seed) => {
    const fabric = await halfFilled(seed);
    const arrived = writesOf(fabric.disk('n3'), 12);
    expect((await reportOf(fabric, 'n3')).missingBlocks).toEqual([{ lunId: 1, blockCount: 768 - arrived }]);
    expect(hasHoles(await reportOf(fabric, 'n2'))).toBe(false);
    await convergesFrom(fabric, 'n3');
    expect([await fabric.read('n3', 0), await fabric.read('n3', 767)]).toEqual([1, 12]);
  });

  it.each(SEEDS)('is the same whichever copy that is (seed %i)', async (seed) => {
    expect(await runLesserCopies(seed)).toEqual({ violation: undefined });
  });
});
