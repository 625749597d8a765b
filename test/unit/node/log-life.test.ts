import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { SeededRandom } from '../../../base/random.ts';
import type { ConfState } from '../../../cluster/raft/index.ts';
import { RaftStore } from '../../../cluster/raft-store.ts';
import { ClusterRecords } from '../../../node/cluster-records.ts';
import { LogLife } from '../../../node/log-life.ts';
import { type FileSystem, nodeFileSystem } from '../../../storage/log/file-system.ts';

const MEMBERS: ConfState = {
  voters: [1, 2, 3],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};
const RENEWING = ['create', 'rename', 'syncDirectory'];

describe('the log that a node took part with', () => {
  let settingsDirectory: string;
  let directory: string;
  const random = new SeededRandom(1);

  beforeEach(async () => {
    settingsDirectory = await mkdtemp(join(tmpdir(), 'bootfabric-life-'));
    directory = join(settingsDirectory, 'data');
    await mkdir(directory);
  });
  afterEach(async () => {
    await rm(settingsDirectory, { recursive: true, force: true });
  });

  const open = (lifeFileSystem: FileSystem = nodeFileSystem): Promise<ClusterRecords> =>
    ClusterRecords.open({
      directory,
      fileSystem: nodeFileSystem,
      logger: silentLogger,
      counters: new CounterSet(),
      life: new LogLife({ settingsDirectory, fileSystem: lifeFileSystem, random, logger: silentLogger }),
    });

  /** A start of the node, which then dies. @returns the term that it was in before */
  async function start(term: number, lifeFileSystem?: FileSystem): Promise<number> {
    const opened = await open(lifeFileSystem);
    const store = await RaftStore.open(opened.records, MEMBERS, undefined, opened.lost);
    const before = store.initialState().hardState.term;
    try {
      await opened.noted();
      await store.persist([{ entries: [], hardState: { term, vote: 3, commit: 0 } }], true);
    } finally {
      await opened.records.close();
    }
    return before;
  }

  /** Fails from the given operation on, as after a crash. */
  function failingAt(step: number, error: Error): { readonly fileSystem: FileSystem; steps: number } {
    const failing = { fileSystem: nodeFileSystem, steps: 0 };
    failing.fileSystem = new Proxy(nodeFileSystem, {
      get(target, name: keyof FileSystem) {
        const real = target[name] as (...args: unknown[]) => Promise<unknown>;
        if (!RENEWING.includes(name)) return real;
        return (...args: unknown[]) =>
          failing.steps++ >= step ? Promise.reject(error) : real.apply(target, args);
      },
    });
    return failing;
  }

  it('goes on at each start', async () => {
    expect(await start(5)).toBe(0);
    expect(await start(6)).toBe(5);
    expect(await start(7)).toBe(6);
  });

  it('is missed where there is nothing in its place, and the next one says so', async () => {
    await start(5);
    await rm(directory, { recursive: true });
    await mkdir(directory);
    await expect(start(6)).rejects.toThrow('is its disk mounted?');
    const opened = await open();
    const store = await RaftStore.open(await opened.setAside(), MEMBERS, undefined, 'gone');
    expect(store.lost).toBe('gone');
    await opened.noted();
    await opened.records.close();
    const again = await open();
    expect((await RaftStore.open(again.records, MEMBERS)).lost).toBe('gone');
    await again.records.close();
  });

  it('is not an older one, and that is kept to be looked into', async () => {
    await start(5);
    const backup = join(settingsDirectory, 'backup');
    await cp(join(directory, 'raft'), backup, { recursive: true });
    await start(6);
    await rm(join(directory, 'raft'), { recursive: true });
    await cp(backup, join(directory, 'raft'), { recursive: true });
    await expect(start(7)).rejects.toThrow('an older one');
    await (await (await open()).setAside()).close();
    expect((await readdir(directory)).toSorted()).toContain('raft.damaged-1');
  });

  it('is known after a crash at any time of a start', async () => {
    for (const isFirst of [true, false]) {
      for (let step = 0, isOver = false; !isOver; step++) {
        await rm(settingsDirectory, { recursive: true });
        await mkdir(directory, { recursive: true });
        if (!isFirst) await start(4);
        const failing = failingAt(step, new Error('crashed'));
        isOver = await start(5, failing.fileSystem).then(
          () => true,
          ({ message }: Error) => message !== 'crashed',
        );
        if (isOver) expect(failing.steps, 'all steps have been crashed at').toBe(9);
        await expect(start(6), `step ${step}`).resolves.toBeTypeOf('number');
      }
    }
  });

  it('goes on where settings may not be written to', async () => {
    await start(5);
    const error = Object.assign(new Error('read-only'), { code: 'EROFS' });
    expect(await start(6, failingAt(0, error).fileSystem)).toBe(5);
    expect(await start(7)).toBe(6);
  });
});
