import { expect, it } from 'vitest';
import type { AppendedRecords, RecordLog } from '../../../../base/record-log.ts';
import { encodeControlRecord, type LoggedRecord } from '../../../../storage/lun/log-record.ts';
import { LogWriter } from '../../../../storage/replication/log-writer.ts';

/** A log whose nextIndex counts what was called, as a real one's does, and whose appends end when told to. */
class SlowLog {
  nextIndex = 1;
  durableNextIndex = 1;
  readonly finish: (() => void)[] = [];

  append(records: readonly Uint8Array[]): Promise<AppendedRecords> {
    const firstIndex = this.nextIndex;
    this.nextIndex += records.length;
    return new Promise((resolve) => {
      this.finish.push(() =>
        resolve({ firstIndex, positions: records.map((_, i) => 100 * (firstIndex + i)) }),
      );
    });
  }
}

function records(count: number): LoggedRecord[] {
  const record = { kind: 'dropLun', epoch: 1, lunId: 1 } as const;
  return Array.from({ length: count }, () => ({ record, payload: encodeControlRecord(record) }));
}

it('says of records that they are in the log only once their own call has ended', async () => {
  const log = new SlowLog();
  const told: number[] = [];
  const placed: number[] = [];
  const fail = (error: unknown): void => {
    throw error;
  };
  const writer = new LogWriter(log as unknown as RecordLog, {
    onPlaced: (index) => placed.push(index),
    onAppended: (_, appendedIndex) => told.push(appendedIndex),
    onFull: () => {},
    onSynced: () => {},
    onFailure: fail,
  });
  writer.append(0, 1, records(2));
  writer.append(0, 3, records(3));
  log.finish[0]?.();
  await new Promise((resolve) => setImmediate(resolve));
  // The second call is under way and counted by the log; nobody may hear of its records yet.
  expect(log.nextIndex).toBe(6);
  expect(placed).toEqual([1, 2]);
  expect(told).toEqual([3]);
  log.finish[1]?.();
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual([3, 6]);
});
