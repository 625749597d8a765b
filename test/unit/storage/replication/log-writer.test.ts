import { expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { type AppendedRecords, LogFullError, type RecordLog } from '../../../../base/record-log.ts';
import { encodeControlRecord, type LoggedRecord } from '../../../../storage/lun/log-record.ts';
import { FULL_RETRY_MS } from '../../../../storage/replication/limits.ts';
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
  const events = {
    onPlaced: (index: number) => placed.push(index),
    onAppended: (_: number, appendedIndex: number) => told.push(appendedIndex),
    onFull: () => {},
    onSynced: () => {},
    onCutFull: () => {},
    onFailure: fail,
  };
  const writer = new LogWriter(log as unknown as RecordLog, events, new ManualClock());
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

/** A log that has no room for a new segment until it is given some. */
class FullLog {
  nextIndex = 9;
  durableNextIndex = 9;
  isFull = true;

  truncateFrom(index: number): Promise<void> {
    if (this.isFull) return Promise.reject(new LogFullError('no room'));
    this.nextIndex = index;
    return Promise.resolve();
  }

  resetTo(index: number): Promise<void> {
    return this.truncateFrom(index);
  }
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

it.each(['truncate', 'reset'] as const)(
  'waits for room to %s the log, and fails when it is stopped',
  async (change) => {
    const log = new FullLog();
    const clock = new ManualClock();
    let complaints = 0;
    const events = {
      onPlaced: () => {},
      onAppended: () => {},
      onFull: () => {},
      onSynced: () => {},
      onCutFull: () => complaints++,
      onFailure: () => {},
    };
    const writer = new LogWriter(log as unknown as RecordLog, events, clock);
    let isDone = false;
    const done = writer[change](1, 5).then(() => {
      isDone = true;
    });
    await turns();
    clock.advance(FULL_RETRY_MS);
    await turns();
    expect([isDone, complaints, log.nextIndex]).toEqual([false, 1, 9]);
    log.isFull = false;
    clock.advance(FULL_RETRY_MS);
    await done;
    expect(log.nextIndex).toBe(5);
    log.isFull = true;
    log.nextIndex = 9;
    const refused = expect(writer[change](2, 3)).rejects.toThrow('no room');
    await turns();
    await writer.stop();
    await refused;
  },
);

/** Syncs and appends end when told to. */
class SyncedLog {
  nextIndex = 1;
  durableNextIndex = 1;
  readonly syncs: (() => void)[] = [];
  readonly appends: ((error?: Error) => void)[] = [];
  #covered = 0;

  append(records: readonly Uint8Array[]): Promise<AppendedRecords> {
    const firstIndex = this.nextIndex;
    this.nextIndex += records.length;
    return new Promise((resolve, reject) => {
      this.appends.push((error) => {
        if (error === undefined) return resolve({ firstIndex, positions: records.map(() => 0) });
        this.#cutTo(firstIndex);
        reject(error);
      });
    });
  }

  sync(): Promise<void> {
    this.#covered = this.nextIndex;
    return new Promise((resolve) => {
      this.syncs.push(() => {
        this.durableNextIndex = this.#covered;
        resolve();
      });
    });
  }

  truncateFrom(index: number): Promise<void> {
    this.#cutTo(index);
    this.durableNextIndex = index;
    return Promise.resolve();
  }

  #cutTo(index: number): void {
    this.nextIndex = index;
    this.#covered = Math.min(this.#covered, index);
  }
}

const SILENT = {
  onPlaced: () => {},
  onAppended: () => {},
  onFull: () => {},
  onSynced: () => {},
  onCutFull: () => {},
  onFailure: (error: unknown): never => {
    throw error;
  },
};

function syncedWriter() {
  const log = new SyncedLog();
  const writer = new LogWriter(log as unknown as RecordLog, SILENT, new ManualClock());
  return { log, writer };
}

it('syncs once for all that a sync under way covers, and again for what came later', async () => {
  const { log, writer } = syncedWriter();
  writer.append(0, 1, records(4));
  log.appends[0]?.();
  await turns();
  writer.sync(0, 3);
  writer.sync(0, 5);
  log.syncs[0]?.();
  await turns();
  expect(log.syncs).toHaveLength(1);
  writer.append(0, 5, records(1));
  log.appends[1]?.();
  await turns();
  writer.sync(0, 6);
  writer.append(0, 6, records(1));
  log.appends[2]?.();
  await turns();
  writer.sync(0, 7);
  log.syncs[1]?.();
  await turns();
  expect(log.syncs).toHaveLength(3);
});

it('takes no sync for one of records that were given the same numbers since it began', async () => {
  for (const change of ['full', 'truncate'] as const) {
    const { log, writer } = syncedWriter();
    writer.append(0, 1, records(2));
    log.appends[0]?.();
    await turns();
    writer.append(0, 3, records(2));
    writer.sync(0, 3);
    if (change === 'full') {
      log.appends[1]?.(new LogFullError('no room'));
      await turns();
    } else {
      log.appends[1]?.();
      await turns();
      await writer.truncate(1, 3);
    }
    writer.append(1, 3, records(2));
    log.appends[2]?.();
    await turns();
    writer.sync(1, 5);
    log.syncs[0]?.();
    await turns();
    expect(log.syncs, change).toHaveLength(2);
  }
});
