import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { LogCorruptionError } from '../../../base/record-log.ts';
import type { ConfState } from '../../../cluster/raft/index.ts';
import { RaftStore } from '../../../cluster/raft-store.ts';
import { ClusterRecords } from '../../../node/cluster-records.ts';
import { type FileSystem, nodeFileSystem } from '../../../storage/log/file-system.ts';

const MEMBERS: ConfState = {
  voters: [1, 2, 3],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-records-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const open = (fileSystem: FileSystem = nodeFileSystem): Promise<ClusterRecords> =>
  ClusterRecords.open({ directory, fileSystem, logger: silentLogger, counters: new CounterSet() });

/** A log with a vote in it, then damaged where it was durable. */
async function makeDamaged(): Promise<void> {
  const { records } = await open();
  const store = await RaftStore.open(records, MEMBERS);
  for (let i = 0; i < 50; i++) {
    await store.persist([{ entries: [], hardState: { term: 7 + i, vote: 3, commit: 0 } }], true);
  }
  await records.close();
  const path = join(
    directory,
    'raft',
    (await readdir(join(directory, 'raft'))).find((n) => n.endsWith('.segment')) ?? '',
  );
  const bytes = await readFile(path);
  bytes[200] = (bytes[200] ?? 0) ^ 0xff;
  await writeFile(path, bytes);
}

/** Does nothing more from the given operation on, as after a crash. */
function crashingAt(step: number): FileSystem {
  let steps = 0;
  const isOver = (): boolean => {
    steps += 1;
    return steps > step;
  };
  const changing = ['create', 'rename', 'remove', 'removeTree', 'syncDirectory', 'makeDirectory'];
  return new Proxy(nodeFileSystem, {
    get(target, name: keyof FileSystem) {
      const real = target[name] as (...args: unknown[]) => Promise<unknown>;
      return (...args: unknown[]) =>
        changing.includes(name) && isOver() ? Promise.reject(new Error('crashed')) : real(...args);
    },
  });
}

describe('a damaged cluster log', () => {
  it('says what is wrong when it is used', async () => {
    await makeDamaged();
    const { records, lost } = await open();
    expect(lost).toBeUndefined();
    await expect(RaftStore.open(records, MEMBERS)).rejects.toThrow(LogCorruptionError);
  });

  it('is set aside and kept, and the next start knows of it until the new log says so itself', async () => {
    await makeDamaged();
    const cluster = await open();
    const fresh = await cluster.setAside();
    await fresh.close();
    expect(await readdir(directory)).toEqual(expect.arrayContaining(['raft', 'raft.damaged-1', 'raft.lost']));
    // A crash now: the log is empty, and must not pass for that of a node that has promised nothing.
    const again = await open();
    expect(again.lost).toContain('set aside');
    const store = await RaftStore.open(again.records, MEMBERS, undefined, again.lost);
    expect(store.lost).toContain('set aside');
    await again.noted();
    await again.records.close();
    const third = await open();
    expect(third.lost).toBeUndefined();
    expect((await RaftStore.open(third.records, MEMBERS)).lost).toContain('set aside');
    await third.records.close();
  });

  it('is never forgotten, wherever in between the process dies', async () => {
    await makeDamaged();
    let crashes = 0;
    for (let step = 0; ; step++) {
      const dying = await open(crashingAt(step)).catch(() => undefined);
      const done = await dying?.setAside().then(
        (records) => records.close().then(() => true),
        () => false,
      );
      if (done !== true) crashes += 1;
      const next = await open();
      const knows = await RaftStore.open(next.records, MEMBERS, undefined, next.lost).then(
        (store) => store.lost !== undefined,
        (error: unknown) => error instanceof LogCorruptionError,
      );
      await next.records.close();
      expect(knows, `after ${step} operations`).toBe(true);
      if (done === true) break;
    }
    expect(crashes).toBeGreaterThan(4);
  });

  it('is not kept for ever', async () => {
    for (let i = 0; i < 5; i++) {
      const cluster = await open();
      await (await cluster.setAside()).close();
    }
    const kept = (await readdir(directory)).filter((name) => name.startsWith('raft.damaged'));
    expect(kept.sort()).toEqual(['raft.damaged-3', 'raft.damaged-4', 'raft.damaged-5']);
  });
});
