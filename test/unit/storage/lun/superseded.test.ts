import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import type { LogRecord } from '../../../../base/record-log.ts';
import {
  type DiscardRecord,
  decodeGroupRecord,
  encodeControlRecord,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { LunTable } from '../../../../storage/lun/lun-table.ts';
import { type DurableEnd, voidFor } from '../../../../storage/lun/superseded.ts';

const LUNS = [1, 2];
const BLOCKS = 24;
const SEEDS = 60;
const epoch = 1;

function randomLog(random: SeededRandom): LogRecord[] {
  const log: LogRecord[] = [];
  let position = 100;
  const exists = new Set<number>();
  for (let index = 1; index <= 80; index++) {
    const lunId = LUNS[random.below(2)] as number;
    const kind = random.below(20);
    const firstBlock = random.below(BLOCKS);
    const blockCount = 1 + random.below(4);
    let payload: Uint8Array;
    if (!exists.has(lunId) || kind === 0) {
      const base = { name: 'i', version: 1 };
      payload = encodeControlRecord({
        kind: 'resetLun',
        epoch,
        lunId,
        generation: index,
        base,
        lengthBlocks: 800,
      });
      exists.add(lunId);
    } else if (kind === 1) {
      payload = encodeControlRecord({ kind: 'dropLun', epoch, lunId });
      exists.delete(lunId);
    } else if (kind < 6) {
      payload = encodeControlRecord({ kind: 'discard', epoch, lunId, firstBlock, blockCount });
    } else {
      payload = new Uint8Array(writeRecordBytes(blockCount)).fill(index);
      sealWriteRecord(payload, { epoch, lunId, firstBlock, blockCount });
    }
    log.push({ index, position, payload });
    position += payload.length + 16;
  }
  return log;
}

function tableOf(log: readonly LogRecord[]): LunTable {
  const table = new LunTable({ open: () => Promise.resolve(undefined) }, () => {});
  table.restart(1, []);
  for (const record of log) table.applyScanned(record);
  return table;
}

/** By number of the record that each block's content is from, since positions differ. */
function contentOf(log: readonly LogRecord[]): string {
  const table = tableOf(log);
  const ofPosition = (position: number): number =>
    position === 0 ? 0 : (log.findLast((record) => record.position <= Math.abs(position))?.index ?? -1);
  return LUNS.map((lunId) => {
    const lun = table.get(lunId);
    if (lun === undefined) return 'none';
    const blocks = Array.from({ length: BLOCKS + 4 }, (_, block) => ofPosition(lun.blocks.position(block)));
    return `${lun.description.generation}: ${blocks.join(' ')}`;
  }).join('; ');
}

function endBefore(log: readonly LogRecord[], index: number): DurableEnd {
  const { position, payload } = log[index - 2] as LogRecord;
  return { index, position: position + payload.length };
}

/** How often a log with voids, cut somewhere from `durableIndex` on, gives other content than without. */
function differences(elideBelow: (durableIndex: number, nextIndex: number) => number): [number, number] {
  let voids = 0;
  let wrong = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new SeededRandom(seed);
    const log = randomLog(random);
    const durableIndex = 2 + random.below(log.length);
    const table = tableOf(log);
    const until = elideBelow(durableIndex, log.length + 1);
    const elided = log.map((record) => {
      const payload = record.index < until ? voidFor(table, record, endBefore(log, until)) : undefined;
      if (payload !== undefined) voids++;
      return payload === undefined ? record : { ...record, payload };
    });
    for (let nextIndex = durableIndex; nextIndex <= log.length + 1; nextIndex++) {
      const isSame = contentOf(log.slice(0, nextIndex - 1)) === contentOf(elided.slice(0, nextIndex - 1));
      if (!isSame) wrong++;
    }
  }
  return [voids, wrong];
}

describe('voids for superseded records', () => {
  it('leave the content what it is, whatever of what is not durable may be lost', () => {
    const [voids, wrong] = differences((durableIndex) => durableIndex);
    expect(wrong).toBe(0);
    expect(voids).toBeGreaterThan(SEEDS);
  });

  it('would not, if what superseded them could be lost', () => {
    expect(differences((_, nextIndex) => nextIndex)[1]).toBeGreaterThan(0);
  });

  it('say up to where a log must reach to be whole', () => {
    const log = randomLog(new SeededRandom(1));
    const table = tableOf(log);
    const payload = log
      .map((record) => voidFor(table, record, endBefore(log, 70)))
      .find((made) => made !== undefined);
    const [index] = log.flatMap((record, i) => (voidFor(table, record, endBefore(log, 70)) ? [i] : []));
    const { payload: whole } = log[index as number] as LogRecord;
    const { lunId, firstBlock, blockCount } = decodeGroupRecord(whole) as DiscardRecord;
    const instead = { lunId, firstBlock, blockCount };
    expect(decodeGroupRecord(payload as Uint8Array)).toEqual({
      kind: 'void',
      epoch,
      untilIndex: 70,
      instead,
    });
  });
});
