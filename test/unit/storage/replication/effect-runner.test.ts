import { beforeEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import { type EffectPorts, EffectRunner } from '../../../../storage/replication/effect-runner.ts';
import { decodeGroupMeta, type MetaStore } from '../../../../storage/replication/group-meta.ts';
import { ReplicaFiles } from '../../../../storage/replication/replica-files.ts';

const BASE = 5;
const LOG = { firstIndex: 1, nextIndex: 10, durableNextIndex: 10 } as unknown as MendableLog;
const NO_SYNC = new Error('EIO: i/o error, fsync');

/** Its first save ends when it is told to, and how; later ones at once. */
class SlowMeta implements MetaStore {
  readonly saved: Uint8Array[] = [];
  calls = 0;
  endFirst: (error?: Error) => void = () => {};

  load(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async save(_: string, bytes: Uint8Array): Promise<void> {
    this.calls += 1;
    if (this.calls === 1) {
      await new Promise<void>((resolve, reject) => {
        this.endFirst = (error) => (error === undefined ? resolve() : reject(error));
      });
    }
    this.saved.push(bytes);
  }
}

let meta: SlowMeta;
let core: { log: { cut: number; baseIndex: number }; persistedEpoch: number };
let failures: unknown[];
let steps: string[];
let runner: EffectRunner;

const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

beforeEach(async () => {
  meta = new SlowMeta();
  core = { log: { cut: 0, baseIndex: 1 }, persistedEpoch: 0 };
  failures = [];
  steps = [];
  const files = await ReplicaFiles.open('pg1', meta, () => Promise.resolve(LOG));
  const ports = {
    groupId: 'pg1',
    core,
    files: Object.assign(files, { log: Object.assign({ trimBefore: () => Promise.resolve() }, LOG) }),
    logger: silentLogger,
    counters: new CounterSet(),
    table: { describe: () => [], appliedIndex: 10, forgetBefore: () => {} },
    trimmer: { propose: () => BASE, beginTurn: () => () => true },
    writes: { settle: () => {} },
    holdMs: 0,
    isDiskLow: () => false,
    isDiskFilling: () => false,
    primary: () => undefined,
    step: ({ kind }: { kind: string }) => steps.push(kind),
    onFailure: (error: unknown) => failures.push(error),
  };
  runner = new EffectRunner(ports as unknown as EffectPorts);
  runner.tick(0);
  await turns();
  // The note of where the log begins is under way, and an epoch is to be written into the same file.
  runner.run([{ kind: 'persist', epoch: 7, leaseMs: 600, epochs: [] }]);
  await turns();
  expect(meta.calls).toBe(1);
});

describe('an epoch that waits for the note of where the log begins', () => {
  it('is written once that is on disk, and with it', async () => {
    meta.endFirst();
    await turns();
    expect(meta.saved.map((bytes) => decodeGroupMeta(bytes))).toMatchObject([
      { epoch: 0, baseIndex: BASE },
      { epoch: 7, baseIndex: BASE },
    ]);
    expect(core.persistedEpoch).toBe(7);
    expect(steps).toEqual(['trimming', 'trimmed']);
    expect(failures).toEqual([]);
  });

  it('is never written where that could not be made durable, nor counted as written', async () => {
    meta.endFirst(NO_SYNC);
    await turns();
    expect(new Set(failures)).toEqual(new Set([NO_SYNC]));
    // Whatever else is to be done comes after it.
    runner.run([{ kind: 'persist', epoch: 8, leaseMs: 600, epochs: [] }]);
    await turns();
    expect(meta.calls).toBe(1);
    expect(core.persistedEpoch).toBe(0);
    expect(steps).toEqual(['trimming']);
    await runner.end();
    expect(meta.calls).toBe(1);
  });
});
