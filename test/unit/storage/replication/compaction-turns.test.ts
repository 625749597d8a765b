import { describe, expect, it } from 'vitest';
import type { LogRecord } from '../../../../base/record-log.ts';
import {
  encodeControlRecord,
  sealWriteRecord,
  writeRecordBytes,
} from '../../../../storage/lun/log-record.ts';
import { LunTable } from '../../../../storage/lun/lun-table.ts';
import { CompactionTurns } from '../../../../storage/replication/compaction-turns.ts';
import { Compactor } from '../../../../storage/replication/compactor.ts';
import { COMPACT_IN_FLIGHT_BYTES } from '../../../../storage/replication/limits.ts';

const BLOCKS = 16;
const RECORD_BYTES = writeRecordBytes(BLOCKS);
const RECORDS = 64;

/** A log all of which is in use. */
function liveLog(): LogRecord[] {
  const base = { name: 'i', version: 1 };
  const reset = encodeControlRecord({
    ...{ kind: 'resetLun', epoch: 1, lunId: 1, generation: 1, base, lengthBlocks: 65_536 },
  });
  const log: LogRecord[] = [{ index: 1, position: 100, payload: reset }];
  for (let i = 0; i < RECORDS; i++) {
    const payload = new Uint8Array(RECORD_BYTES);
    sealWriteRecord(payload, { epoch: 1, lunId: 1, firstBlock: i * BLOCKS, blockCount: BLOCKS });
    log.push({ index: i + 2, position: 1_000 + i * (RECORD_BYTES + 16), payload });
  }
  return log;
}

/** A compactor of one group, whose writes end when the test says so. */
class Compaction {
  readonly #compactor: Compactor;
  readonly #ends: (() => void)[] = [];
  inFlightBytes = 0;
  isDone = false;

  constructor(turns: CompactionTurns) {
    const log = liveLog();
    const table = new LunTable({ open: () => Promise.resolve(undefined) }, () => {});
    table.restart(1, []);
    for (const record of log) table.applyScanned(record);
    this.#compactor = new Compactor({
      log: {
        scan: async function* () {
          yield* log;
        },
      },
      table,
      baseIndex: () => 1,
      slackBytes: -(1024 ** 3),
      isServing: () => true,
      isDiskLow: () => false,
      recordEpoch: () => 1,
      submit: (records) => {
        const lengthBytes = records.reduce((sum, { payload }) => sum + payload.length, 0);
        this.inFlightBytes += lengthBytes;
        const done = new Promise<void>((resolve) => {
          this.#ends.push(() => {
            this.inFlightBytes -= lengthBytes;
            resolve();
          });
        });
        return { done };
      },
      turns,
      onProgress: () => {
        this.isDone = true;
      },
      onTrouble: (reason) => {
        throw new Error(reason);
      },
      onFailure: (error) => {
        throw error;
      },
    });
  }

  begin(): void {
    this.#compactor.tick(1);
  }

  endOne(): void {
    this.#ends.shift()?.();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('compaction of several groups of a node', () => {
  it.each([1, 2, 8])(
    'has no more in flight than that of one alone, and all come to an end: %i',
    async (count) => {
      const turns = new CompactionTurns();
      const all = Array.from({ length: count }, () => new Compaction(turns));
      for (const compaction of all) compaction.begin();
      await settled();
      const inFlight = (): number => all.reduce((sum, { inFlightBytes }) => sum + inFlightBytes, 0);
      expect(inFlight()).toBeGreaterThan(0.7 * COMPACT_IN_FLIGHT_BYTES);
      for (let i = 0; i < RECORDS && !all.every(({ isDone }) => isDone); i++) {
        // Each goes on until it has a record more than its share.
        expect(inFlight()).toBeLessThan(COMPACT_IN_FLIGHT_BYTES + (count + 1) * RECORD_BYTES);
        for (const compaction of all) compaction.endOne();
        await settled();
      }
      for (let i = 0; i < RECORDS; i++) for (const compaction of all) compaction.endOne();
      await settled();
      expect(all.every(({ isDone }) => isDone)).toBe(true);
      expect(turns.passes).toBe(0);
    },
  );

  it('counts those of other workers', () => {
    const turns = new CompactionTurns(() => 3);
    turns.begin();
    expect(turns.shareBytes).toBe(COMPACT_IN_FLIGHT_BYTES / 4);
    turns.end();
  });
});
