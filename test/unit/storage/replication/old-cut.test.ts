import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { AppendedRecords, RecordLog } from '../../../../base/record-log.ts';
import { encodeControlRecord, loggedControl } from '../../../../storage/lun/log-record.ts';
import type { ReplicaEvent } from '../../../../storage/replication/core.ts';
import { type EffectPorts, EffectRunner } from '../../../../storage/replication/effect-runner.ts';
import { decodeFrame, type Frame } from '../../../../storage/replication/frame.ts';
import { LogWriter } from '../../../../storage/replication/log-writer.ts';
import { Driver, group, identity } from './machine-driver.ts';

/** Places in the log that were given before it was cut are void, whatever waits for them. */

const record = loggedControl({ kind: 'dropLun', epoch: 3, lunId: 1 });
const payload = encodeControlRecord({ kind: 'dropLun', epoch: 3, lunId: 1 });
const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Carries out effects of a primary that serves with "b", beside a disk that takes its time with the meta file. */
function runner() {
  const driver = new Driver();
  driver.state(group(3, 'a', ['a', 'b']));
  driver.ack('b', 2);
  driver.tick();
  const saves: (() => void)[] = [];
  const appends: { cut: number; at: number }[] = [];
  const frames: Frame[] = [];
  const events: ReplicaEvent[] = [];
  const ports = {
    core: driver.core,
    self: driver.core.self,
    files: { saveEpoch: () => new Promise<void>((resolve) => saves.push(resolve)) },
    writer: { append: (cut: number, at: number) => appends.push({ cut, at }) },
    writes: { settle: () => {} },
    transport: {
      send: (_: string, parts: readonly Uint8Array[]) => frames.push(decodeFrame(Buffer.concat(parts))) > 0,
    },
    tail: { take: () => [payload, payload, payload] },
    clock: new ManualClock(),
    logger: silentLogger,
    counters: new CounterSet(),
    primary: () => driver.primary,
    step: (event: ReplicaEvent) => events.push(event),
    onFailure: (error: unknown) => {
      throw error;
    },
  };
  return {
    driver,
    saves,
    appends,
    frames,
    events,
    effects: new EffectRunner(ports as unknown as EffectPorts),
  };
}

describe('what waits for the disk while the log is cut', () => {
  const persist = { kind: 'persist', epoch: 3, leaseMs: 800, epochs: [] } as const;

  it.each([
    { kind: 'append', cut: 0, firstIndex: 2, records: [record] } as const,
    { kind: 'beginEpoch', epoch: 3, cut: 0, index: 2 } as const,
  ])('is given no place in it: $kind', async (effect) => {
    for (const isCut of [false, true]) {
      const { driver, saves, appends, effects } = runner();
      effects.run([persist, effect]);
      await turns();
      expect(appends).toEqual([]);
      if (isCut) driver.core.log.cut++;
      saves[0]?.();
      await turns();
      expect(appends).toEqual(isCut ? [] : [{ cut: 0, at: 2 }]);
    }
  });
});

describe('what is sent to a member', () => {
  const stream = { kind: 'stream', to: identity('b'), maxBytes: 1000, elideBelow: 0 } as const;

  it('ends where the log does by what is known of it, though more has been read', () => {
    const { driver, frames, events, effects } = runner();
    driver.core.log.appendedIndex = 4;
    effects.run([{ ...stream, fromIndex: 2 }]);
    expect(frames).toMatchObject([{ kind: 'append', firstIndex: 2 }]);
    expect(frames.map((frame) => frame.kind === 'append' && frame.records.length)).toEqual([2]);
    expect(events).toMatchObject([{ kind: 'streamed', fromIndex: 2, sent: { nextIndex: 4 } }]);
  });

  it('is nothing where none of it is in the log any more', () => {
    const { frames, events, effects } = runner();
    effects.run([{ ...stream, fromIndex: 2 }]);
    effects.run([{ ...stream, fromIndex: 3 }]);
    expect(frames).toEqual([]);
    expect(events).toMatchObject([
      { kind: 'streamed', sent: undefined },
      { kind: 'streamed', sent: undefined },
    ]);
  });
});

/** Appends end when told to; it says in which order what was asked of it began and ended. */
class OrderedLog {
  nextIndex = 1;
  durableNextIndex = 1;
  readonly finish: (() => void)[] = [];
  readonly done: string[] = [];

  append(records: readonly Uint8Array[]): Promise<AppendedRecords> {
    const firstIndex = this.nextIndex;
    this.nextIndex += records.length;
    return new Promise((resolve) => {
      this.finish.push(() => {
        this.done.push(`appended ${firstIndex}`);
        resolve({ firstIndex, positions: records.map(() => 0) });
      });
    });
  }

  truncateFrom(index: number): Promise<void> {
    this.done.push(`cut at ${index}`);
    this.nextIndex = index;
    return Promise.resolve();
  }

  resetTo(index: number): Promise<void> {
    return this.truncateFrom(index);
  }
}

describe('a log that is cut while an append is under way', () => {
  it.each(['truncate', 'reset'] as const)('takes nothing that waited behind it: %s', async (change) => {
    const log = new OrderedLog();
    const told: { cut: number; appendedIndex: number }[] = [];
    const events = {
      onPlaced: () => {},
      onAppended: (cut: number, appendedIndex: number) => told.push({ cut, appendedIndex }),
      onFull: () => {},
      onSynced: () => {},
      onCutFull: () => {},
      onFailure: (error: unknown): never => {
        throw error;
      },
    };
    const writer = new LogWriter(log as unknown as RecordLog, events, new ManualClock());
    writer.append(0, 1, [record, record]);
    writer.append(0, 3, [record, record, record]);
    const cutting = writer[change](1, 2);
    await turns();
    expect(log.done).toEqual([]);
    log.finish[0]?.();
    await turns();
    expect(log.finish).toHaveLength(1);
    await cutting;
    expect(log.done).toEqual(['appended 1', 'cut at 2']);
    // Under the number of before: whoever cut the log takes no account of it.
    expect(told).toEqual([{ cut: 0, appendedIndex: 3 }]);
    writer.append(1, 2, [record]);
    log.finish[1]?.();
    await turns();
    expect(told.at(-1)).toEqual({ cut: 1, appendedIndex: 3 });
  });
});
