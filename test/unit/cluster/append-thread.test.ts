import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../../base/logger.ts';
import { AppendThread } from '../../../cluster/append-thread.ts';
import { LOCAL_APPEND_THREAD, type Message } from '../../../cluster/raft/index.ts';
import { RaftStore } from '../../../cluster/raft-store.ts';
import { MemoryDisk, MemoryRecordLog } from '../../support/memory-record-log.ts';
import { eventually, realTime } from '../../support/real-time.ts';

async function setUp(): Promise<{
  disk: MemoryDisk;
  thread: AppendThread;
  store: RaftStore;
  said: number[];
  failures: unknown[];
}> {
  const disk = new MemoryDisk();
  const store = await RaftStore.open(new MemoryRecordLog(disk), {
    voters: [1],
    learners: [],
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  });
  const said: number[] = [];
  const failures: unknown[] = [];
  const thread = new AppendThread(
    store,
    { clock: realTime, timers: realTime, logger: silentLogger },
    {
      received: () => {},
      written: (responses) => said.push(...responses.map((r) => r.index ?? 0)),
      failed: (error) => failures.push(error),
    },
  );
  return { disk, thread, store, said, failures };
}

const write = (index: number): Message => ({
  type: 'MsgStorageAppend',
  to: LOCAL_APPEND_THREAD,
  from: 1,
  term: 1,
  vote: 1,
  commit: 0,
  entries: [{ term: 1, index, type: 'normal', data: new Uint8Array(1) }],
  responses: [{ type: 'MsgStorageAppendResp', to: 1, from: LOCAL_APPEND_THREAD, index }],
});

describe('the append thread', () => {
  it('says nothing before the fsync, then everything in order', async () => {
    const { disk, thread, said, store } = await setUp();
    let release = (): void => {};
    disk.held = new Promise((resolve) => {
      release = resolve;
    });
    const syncsBefore = disk.syncs;
    for (let i = 1; i <= 10; i++) thread.push(write(i));
    await eventually('it is written', () => disk.nextIndex > 1);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(said).toEqual([]);
    expect(store.lastIndex()).toBe(0);
    expect(thread.stalledMs()).toBeGreaterThan(20);
    release();
    await eventually('all is said', () => said.length === 10);
    expect(said).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(thread.stalledMs()).toBe(0);
    // The first alone, and all that came while it was being written.
    expect(disk.syncs - syncsBefore).toBeLessThanOrEqual(2);
  });

  it('sums up how long its last durable writes took', async () => {
    const { disk, thread, said } = await setUp();
    expect(thread.latency()).toEqual({ samples: 0, p50Ms: undefined, p99Ms: undefined, underWayMs: 0 });
    for (let i = 1; i <= 3; i++) {
      thread.push(write(i));
      await eventually('it is said', () => said.length === i);
    }
    disk.held = new Promise((resolve) => setTimeout(resolve, 60));
    thread.push(write(4));
    await eventually('it is under way', () => thread.latency().underWayMs > 20);
    await eventually('it is said', () => said.length === 4);
    const { samples, p50Ms = Number.NaN, p99Ms = Number.NaN, underWayMs } = thread.latency();
    expect([samples, underWayMs]).toEqual([4, 0]);
    expect(p99Ms).toBeGreaterThan(50);
    expect(p50Ms).toBeLessThan(p99Ms);
  });

  it('takes no write for a sample of the disk that needed no fsync', async () => {
    const { disk, thread, said } = await setUp();
    thread.push(write(1));
    await eventually('it is said', () => said.length === 1);
    const { syncs } = disk;
    expect(thread.latency().samples).toBe(1);
    // An answer with nothing new to keep, then a commit index alone, which waits for the next record.
    const { entries: _, ...answer } = write(2);
    thread.push(answer);
    await eventually('it is said', () => said.length === 2);
    const { responses: __, ...silent } = answer;
    thread.push({ ...silent, commit: 1 });
    thread.push({ ...answer, commit: 1 });
    await eventually('it is said', () => said.length === 3);
    expect(disk.syncs).toBe(syncs);
    expect(thread.latency().samples).toBe(1);
    thread.push(write(2));
    await eventually('it is said', () => said.length === 4);
    expect(disk.syncs).toBe(syncs + 1);
    expect(thread.latency().samples).toBe(2);
  });

  it('waits for space, and ends at a failure', async () => {
    const { disk, thread, said, failures } = await setUp();
    disk.full = true;
    thread.push(write(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(said).toEqual([]);
    disk.full = false;
    await eventually('it is written', () => said.length === 1);
    disk.failed = true;
    thread.push(write(2));
    await eventually('it fails', () => failures.length === 1);
    thread.push(write(3));
    await thread.stop();
    expect(said).toEqual([1]);
  });
});
