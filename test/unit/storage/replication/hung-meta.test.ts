import { beforeEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import type { ReplicaEffect } from '../../../../storage/replication/core.ts';
import { type EffectPorts, EffectRunner } from '../../../../storage/replication/effect-runner.ts';
import { decodeFrame, type Frame } from '../../../../storage/replication/frame.ts';
import type { MetaStore } from '../../../../storage/replication/group-meta.ts';
import { HEARTBEAT_MS, MAX_WAITING_EFFECTS } from '../../../../storage/replication/limits.ts';
import { ReplicaFiles } from '../../../../storage/replication/replica-files.ts';
import { withoutSuperseded } from '../../../../storage/replication/superseded.ts';
import { COMMON, Driver, EPOCH_START } from './machine-driver.ts';

const LOG = { firstIndex: 1, nextIndex: 1, durableNextIndex: 1 } as unknown as MendableLog;
/** A quarter of an hour. */
const HEARTBEATS = (15 * 60_000) / HEARTBEAT_MS;

describe('a member whose meta file takes nothing', () => {
  let driver: Driver;
  let runner: EffectRunner;
  let sent: { to: string; frame: Frame }[];
  let appended: number[];
  let counters: CounterSet;
  let diskIsBack: () => void;

  beforeEach(async () => {
    sent = [];
    appended = [];
    counters = new CounterSet();
    const hung = new Promise<void>((resolve) => {
      diskIsBack = resolve;
    });
    const meta: MetaStore = { load: () => Promise.resolve(undefined), save: () => hung };
    driver = new Driver();
    // What the machine knows is not persisted here before the runner has done so.
    const core = Object.assign(Object.create(driver.core) as typeof driver.core, { persistedEpoch: 0 });
    runner = new EffectRunner({
      groupId: 'g',
      core,
      files: await ReplicaFiles.open('g', meta, () => Promise.resolve(LOG)),
      transport: {
        send: (to: string, parts: Uint8Array[]) =>
          sent.push({ to, frame: decodeFrame(Buffer.concat(parts)) }),
      },
      writer: { append: (_: number, firstIndex: number) => appended.push(firstIndex), sync: () => {} },
      applier: { apply: () => {} },
      writes: { settle: () => {} },
      logger: silentLogger,
      counters,
      onFailure: (error: unknown) => expect.unreachable(String(error)),
    } as unknown as EffectPorts);
    runner.run(
      driver.frame('b', {
        kind: 'append',
        ...COMMON,
        firstIndex: 1,
        previousEpoch: 0,
        records: [EPOCH_START],
      }),
    );
  });

  const heartbeat = (sentAtMs: number): void => {
    driver.nowMs = sentAtMs;
    runner.run(driver.frame('b', { kind: 'heartbeat', ...COMMON, sentAtMs, commitIndex: 2, syncIndex: 2 }));
  };

  it('keeps no answer for every heartbeat, and gives the newest once it is on disk', async () => {
    for (let i = 1; i <= HEARTBEATS; i++) heartbeat(i * HEARTBEAT_MS);
    expect(sent).toEqual([]);
    diskIsBack();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(sent.length).toBeLessThanOrEqual(MAX_WAITING_EFFECTS);
    expect(sent.at(-1)).toMatchObject({ to: 'b', frame: { kind: 'ack', echoMs: HEARTBEATS * HEARTBEAT_MS } });
    expect(appended).toEqual([1]);
  });

  it('complains at once all the same', () => {
    const { epoch } = COMMON;
    runner.run(driver.frame('c', { kind: 'heartbeat', ...COMMON, epoch, sentAtMs: 6 }));
    expect(counters.snapshot()).toMatchObject({ 'replication.second-primary': 1 });
  });
});

describe('what is left of effects that wait', () => {
  const persist = (epoch: number): ReplicaEffect => ({ kind: 'persist', epoch, leaseMs: 1, epochs: [] });
  const heartbeat = (to: string, sentAtMs: number): ReplicaEffect => ({
    kind: 'send',
    to,
    frame: { kind: 'heartbeat', ...COMMON, sentAtMs },
  });
  const append = (firstIndex: number): ReplicaEffect => ({ kind: 'append', cut: 0, firstIndex, records: [] });
  const truncate: ReplicaEffect = { kind: 'truncate', fromIndex: 1 };

  it('is the last message of each kind to each member', () => {
    const order: Frame = { kind: 'truncate', ...COMMON, fromIndex: 1 };
    const toTruncate: ReplicaEffect = { kind: 'send', to: 'b', frame: order };
    const effects = [heartbeat('b', 1), toTruncate, heartbeat('c', 1), heartbeat('b', 2), heartbeat('c', 2)];
    expect(withoutSuperseded(effects)).toEqual([toTruncate, heartbeat('b', 2), heartbeat('c', 2)]);
  });

  it('is all that changes the log, with the epochs on which it rests before it', () => {
    const effects = [persist(1), append(1), persist(2), truncate, persist(3), append(1), append(2)];
    expect(withoutSuperseded(effects)).toEqual(effects);
  });

  it('is the last of epochs on which nothing rests', () => {
    const effects = [append(1), persist(1), heartbeat('b', 1), persist(2), heartbeat('b', 2), persist(3)];
    expect(withoutSuperseded(effects)).toEqual([append(1), persist(2), heartbeat('b', 2), persist(3)]);
  });

  it('is one sync, one look at what is committed, and one proposal', () => {
    const sync = (index: number): ReplicaEffect => ({ kind: 'sync', index });
    const commit: ReplicaEffect = { kind: 'commit' };
    const shrink = (epoch: number): ReplicaEffect => ({
      kind: 'propose',
      change: { kind: 'shrink', epoch, remove: 'b' },
      reason: 'failed',
    });
    const effects = [sync(1), commit, shrink(1), append(2), sync(2), commit, shrink(2)];
    expect(withoutSuperseded(effects)).toEqual([append(2), sync(2), commit, shrink(2)]);
  });
});
