import { beforeEach, describe, expect, it } from 'vitest';
import { LogCorruptionError, LogFailure, LogFullError } from '../../../base/record-log.ts';
import { LOG_TAIL_ENTRIES, MAX_LOG_ENTRIES, MAX_RECORD_PAYLOAD_BYTES } from '../../../cluster/limits.ts';
import { pack } from '../../../cluster/msgpack.ts';
import {
  type ConfChangeSingle,
  type ConfState,
  type Entry,
  encodeConfChange,
} from '../../../cluster/raft/index.ts';
import { encodeRecord } from '../../../cluster/raft-records.ts';
import { RaftStore, type StorageWrite } from '../../../cluster/raft-store.ts';
import { type SnapshotPart, sha256Of } from '../../../cluster/snapshot-spool.ts';
import { MemoryDisk, MemoryRecordLog } from '../../support/memory-record-log.ts';

const MEMBERS: ConfState = {
  voters: [1, 2, 3],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

let disk: MemoryDisk;

beforeEach(() => {
  disk = new MemoryDisk();
});

const open = async (): Promise<RaftStore> => await RaftStore.open(new MemoryRecordLog(disk), MEMBERS);

function entries(from: number, to: number, term: number, sizeBytes = 1): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({
    term,
    index: from + i,
    type: 'normal',
    data: Buffer.alloc(sizeBytes, term),
  }));
}

const append = (from: number, to: number, term: number): StorageWrite => ({
  entries: entries(from, to, term),
  hardState: { term, vote: 1, commit: 0 },
});

function terms(store: RaftStore): string {
  const found: unknown[] = [];
  for (let i = store.firstIndex(); i <= store.lastIndex(); i++) found.push(store.term(i));
  return `${store.firstIndex()}: ${found.join(' ')}`;
}

describe('the Raft store', () => {
  it('begins empty, with the members it is told, and comes back so', async () => {
    for (let i = 0; i < 2; i++) {
      const store = await open();
      expect(store.initialState()).toEqual({
        hardState: { term: 0, vote: 0, commit: 0 },
        confState: MEMBERS,
      });
      expect([store.firstIndex(), store.lastIndex()]).toEqual([1, 0]);
    }
  });

  it('has after a crash everything whose write has resolved', async () => {
    const store = await open();
    await store.persist([append(1, 3, 1), { entries: [], hardState: { term: 2, vote: 3, commit: 2 } }], true);
    await store.persist([append(4, 4, 3)], false);
    expect(store.lastIndex()).toBe(4);
    disk.crash();
    const again = await open();
    expect(terms(again)).toBe('1: 1 1 1');
    expect(again.initialState().hardState).toEqual({ term: 2, vote: 3, commit: 2 });
    expect(again.entries(2, 4, 1000)).toEqual(entries(2, 3, 1));
  });

  it('makes one fsync of any number of writes', async () => {
    const store = await open();
    const before = disk.syncs;
    await store.persist(
      Array.from({ length: 50 }, (_, i) => append(i + 1, i + 1, 1)),
      true,
    );
    expect(disk.syncs).toBe(before + 1);
  });

  it('syncs what a promise rests on, and nothing for a commit index that comes alone', async () => {
    const store = await open();
    const told = (commit: number, vote = 1): StorageWrite => ({
      entries: [],
      hardState: { term: 1, vote, commit },
    });
    await store.persist([append(1, 2, 1)], true);
    const { syncs, nextIndex } = disk;
    await store.persist([told(2)], true);
    expect([disk.syncs, disk.nextIndex]).toEqual([syncs, nextIndex]);
    expect(store.initialState().hardState.commit).toBe(2);
    // It goes with the next entries.
    await store.persist([{ ...append(3, 3, 1), hardState: { term: 1, vote: 1, commit: 2 } }], false);
    // They were not made durable; what is promised next, by whatever write, rests on them as well.
    await store.persist([told(3)], true);
    expect(disk.syncs).toBe(syncs + 1);
    disk.crash();
    const again = await open();
    expect(again.lastIndex()).toBe(3);
    expect(again.initialState().hardState).toEqual({ term: 1, vote: 1, commit: 2 });
    await again.persist([told(2, 2)], true);
    disk.crash();
    expect((await open()).initialState().hardState.vote).toBe(2);
  });

  it('lets later entries replace earlier ones of the same place and all after them', async () => {
    const store = await open();
    await store.persist([append(1, 5, 1), append(3, 4, 2)], true);
    expect(terms(store)).toBe('1: 1 1 2 2');
    expect(terms(await open())).toBe('1: 1 1 2 2');
  });

  it('survives a write torn at any record', async () => {
    for (let keep = 0; keep <= 5; keep++) {
      disk = new MemoryDisk();
      const store = await open();
      await store.persist([append(1, 2, 1)], true);
      const commit = { term: 2, vote: 2, commit: 4 };
      await store.persist([{ entries: entries(3, 4, 2), hardState: commit }, append(3, 3, 3)], false);
      disk.crash(keep);
      const again = await open();
      const { hardState } = again.initialState();
      expect(hardState.commit).toBeLessThanOrEqual(again.lastIndex());
      const last = again.term(again.lastIndex());
      expect(hardState.term).toBeGreaterThanOrEqual(last as number);
    }
  });

  it('takes no entry for committed that a torn write was to replace', async () => {
    for (let keep = 0; keep < 3; keep++) {
      disk = new MemoryDisk();
      const store = await open();
      await store.persist([append(1, 5, 1)], true);
      const replacing = { entries: entries(3, 8, 3), hardState: { term: 3, vote: 2, commit: 7 } };
      await store.persist([replacing], false);
      expect(store.initialState().hardState.commit).toBe(7);
      disk.crash(keep);
      const after = await open();
      // What is told is true of the entries that are there: of those before the third, or of all that were written.
      const { commit } = after.initialState().hardState;
      expect(after.term(after.lastIndex()) === 1 ? commit <= 2 : commit <= 7, `${keep} records kept`).toBe(
        true,
      );
      if (keep === 1) expect([after.lastIndex(), commit]).toEqual([5, 2]);
    }
  });

  it('splits what is too large for one record', async () => {
    const store = await open();
    const big = entries(1, 5, 1, MAX_RECORD_PAYLOAD_BYTES / 2);
    await store.persist([{ entries: big }], true);
    expect(disk.records.length).toBe(1 + 3);
    expect((await open()).lastIndex()).toBe(5);
  });

  it('compacts a long log but for a tail, and gives the space back', async () => {
    const store = await open();
    const length = MAX_LOG_ENTRIES + 10;
    for (let i = 1; i <= length; i += 100) {
      await store.persist([append(i, Math.min(i + 99, length), 1)], true);
    }
    expect(store.isLong).toBe(true);
    const before = disk.records.length;
    await store.compact(length - 5);
    expect(store.isLong).toBe(false);
    expect(store.firstIndex()).toBe(length - LOG_TAIL_ENTRIES + 1);
    expect(store.term(store.firstIndex() - 1)).toBe(1);
    expect(disk.records.length).toBeLessThan(before / 4);
    await store.persist([append(length + 1, length + 1, 2)], true);
    disk.crash();
    const again = await open();
    expect([again.firstIndex(), again.lastIndex()]).toEqual([store.firstIndex(), length + 1]);
    expect(again.initialState().hardState).toEqual({ term: 2, vote: 1, commit: 0 });
    expect(again.initialState().confState).toEqual(MEMBERS);
  });

  it('keeps a vote that is being written while it compacts', async () => {
    const store = await open();
    for (let i = 1; i <= 3000; i += 100) await store.persist([append(i, i + 99, 1)], true);
    let release = (): void => {};
    disk.held = new Promise((resolve) => {
      release = resolve;
    });
    const voting = store.persist([{ entries: [], hardState: { term: 7, vote: 3, commit: 0 } }], true);
    const compacting = store.compact(1500);
    release();
    await Promise.all([voting, compacting]);
    disk.crash();
    // The record that says where the log begins is the later one, and speaks of term and vote as well.
    expect((await open()).initialState().hardState).toEqual({ term: 7, vote: 3, commit: 0 });
  });

  it('keeps a snapshot that is being written while it compacts', async () => {
    const store = await open();
    for (let i = 1; i <= 3000; i += 100) await store.persist([append(i, i + 99, 1)], true);
    let release = (): void => {};
    disk.held = new Promise((resolve) => {
      release = resolve;
    });
    const snapshot = { metadata: { index: 5000, term: 4, confState: MEMBERS }, data: Buffer.from('state') };
    const hardState = { term: 5, vote: 2, commit: 5000 };
    const receiving = store.persist([{ entries: [], snapshot, hardState }], true);
    const compacting = store.compact(1500);
    release();
    await Promise.all([receiving, compacting]);
    disk.crash();
    expect((await open()).resumeAt(1500)).toEqual({ index: 5000, data: Buffer.from('state') });
  });

  it('comes back when only some of what was trimmed is really gone', async () => {
    const store = await open();
    for (let i = 1; i <= 3000; i += 100) await store.persist([append(i, i + 99, 1)], true);
    const all = [...disk.records];
    await store.compact(1500);
    await store.persist([append(3001, 3001, 1)], true);
    await store.compact(1900);
    const tail = disk.records.slice(all.length - disk.firstIndex);
    // Segments go as a whole, so any number of old records may still be there.
    for (let gone = 0; gone <= disk.firstIndex; gone++) {
      const partial = new MemoryDisk();
      partial.records = [...all.slice(gone), ...tail];
      partial.firstIndex = gone;
      partial.durable = partial.nextIndex;
      const again = await RaftStore.open(new MemoryRecordLog(partial), MEMBERS);
      expect([again.firstIndex(), again.lastIndex()]).toEqual([1901, 3001]);
    }
  });

  it('starts anew from a snapshot, and hands it out until the consumer has it', async () => {
    const store = await open();
    await store.persist([append(1, 5, 1)], true);
    const snapshot = { metadata: { index: 100, term: 4, confState: MEMBERS }, data: Buffer.from('state') };
    await store.persist([{ entries: [], snapshot, hardState: { term: 5, vote: 2, commit: 100 } }], true);
    await store.persist([append(101, 102, 5)], true);
    expect(terms(store)).toBe('101: 5 5');
    const again = await open();
    expect(terms(again)).toBe('101: 5 5');
    expect(again.resumeAt(3)).toEqual({ index: 100, data: Buffer.from('state') });
    expect((await open()).resumeAt(101)).toBeUndefined();
  });

  it('keeps a snapshot of many parts across a crash, and nothing that was there before it', async () => {
    const store = await open();
    for (let i = 1; i <= 300; i += 100) await store.persist([append(i, i + 99, 1)], true);
    const data = Buffer.alloc(3 * MAX_RECORD_PAYLOAD_BYTES + 5, 'state');
    const snapshot = { metadata: { index: 1000, term: 4, confState: MEMBERS }, data };
    await store.persist([{ entries: [], snapshot, hardState: { term: 5, vote: 2, commit: 1000 } }], true);
    expect(disk.records).toHaveLength(4 + 1);
    disk.crash();
    expect(data.equals((await open()).resumeAt(3)?.data ?? Buffer.alloc(0))).toBe(true);
  });

  it('goes on receiving where it was, unless the beginning has been lost', async () => {
    const store = await open();
    const content = Buffer.from('0123456789');
    const whole = { totalBytes: 10, sha256: sha256Of(content) };
    const spooled = { ...whole, metadata: { index: 9, term: 2, confState: MEMBERS } };
    const part = (from: number, to: number): SnapshotPart => ({
      ...spooled,
      offsetBytes: from,
      bytes: content.subarray(from, to),
    });
    store.beginSpool(spooled);
    await store.keepPart(part(0, 4));
    // Neither a gap nor a repetition counts.
    await store.keepPart(part(5, 10));
    await store.keepPart(part(0, 4));
    await store.keepPart(part(4, 7));
    expect(store.spool?.filledBytes).toBe(7);
    const again = await open();
    expect(again.spool?.filledBytes).toBe(7);
    await again.keepPart(part(7, 10));
    const snapshot = { metadata: spooled.metadata, data: content };
    await again.persist([{ entries: [], snapshot, hardState: { term: 2, vote: 0, commit: 9 } }], true);
    // What was kept is not written twice.
    expect(disk.records).toHaveLength(3 + 2);
    expect((await open()).resumeAt(0)).toEqual({ index: 9, data: content });
    // Some other snapshot is begun anew.
    again.beginSpool({ ...spooled, metadata: { ...spooled.metadata, index: 12 } });
    expect((await open()).spool).toBeUndefined();
  });

  it('takes no snapshot for whole of which a part is missing', async () => {
    const store = await open();
    await store.persist([append(1, 5, 1)], true);
    const metadata = { index: 9, term: 2, confState: MEMBERS };
    const record = encodeRecord({ kind: 'snapshot', metadata, hardState: { term: 2, vote: 0, commit: 9 } });
    disk.records.push(record);
    await expect(open()).rejects.toThrow(LogCorruptionError);
  });
});

describe('the Raft store refuses to start', () => {
  it('when what was applied lies outside the log', async () => {
    const store = await open();
    await store.persist([append(1, 5, 1)], true);
    expect(() => store.resumeAt(6)).toThrow(LogCorruptionError);
    for (let i = 6; i <= 3000; i += 499) await store.persist([append(i, i + 498, 1)], true);
    await store.compact(1500);
    const again = await open();
    expect(() => again.resumeAt(1000)).toThrow(LogCorruptionError);
    expect(again.resumeAt(1500)).toBeUndefined();
    // What has been applied is committed, whatever got to disk.
    expect(again.initialState().hardState.commit).toBe(1500);
  });

  it('with a gap between entries', async () => {
    const store = await open();
    await store.persist([append(1, 5, 1)], true);
    disk.records.push(encodeRecord({ kind: 'entries', entries: entries(8, 9, 1) }));
    await expect(open()).rejects.toThrow(LogCorruptionError);
  });

  it('with a record that is none', async () => {
    await open();
    disk.records.push(Buffer.from('c1', 'hex'));
    await expect(open()).rejects.toThrow(LogCorruptionError);
  });
});

describe('a log that a newer program has written to', () => {
  it('is refused, and not taken for a damaged one', async () => {
    await open();
    disk.records.push(pack([99, 'whatever']));
    const error = await open().catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'newer-format', kind: 'conflict' });
    expect(error).not.toBeInstanceOf(LogCorruptionError);
  });
});

describe('a write that fails', () => {
  it('changes nothing when there was no space, and is final when the device failed', async () => {
    const store = await open();
    disk.full = true;
    await expect(store.persist([append(1, 1, 1)], true)).rejects.toThrow(LogFullError);
    expect(store.lastIndex()).toBe(0);
    disk.full = false;
    await store.persist([append(1, 1, 1)], true);
    disk.failed = true;
    await expect(store.persist([append(2, 2, 1)], true)).rejects.toThrow(LogFailure);
    expect(store.lastIndex()).toBe(1);
  });
});

describe('the configuration, as the store knows it', () => {
  const ALONE: ConfState = { ...MEMBERS, voters: [1] };
  const WITH_LEARNER: ConfState = { ...ALONE, learners: [2] };
  const BOTH: ConfState = { ...ALONE, voters: [1, 2] };
  const change = (index: number, type: ConfChangeSingle['type']): Entry => ({
    ...encodeConfChange({ transition: 'auto', changes: [{ type, nodeId: 2 }], context: new Uint8Array(0) }),
    term: 1,
    index,
  });
  /** Node 2 comes as a learner by entry 2, and votes from entry 4 on. */
  const LOG: Entry[] = [
    ...entries(1, 1, 1),
    change(2, 'addLearnerNode'),
    ...entries(3, 3, 1),
    change(4, 'addNode'),
    ...entries(5, 5, 1),
  ];
  const bounds = { maxEntries: 1, maxBytes: 1_000_000, tailEntries: 0 };
  const openAlone = (): Promise<RaftStore> => RaftStore.open(new MemoryRecordLog(disk), ALONE, bounds);

  it('is that of the last entry applied, not of those that follow', async () => {
    const hardState = { term: 1, vote: 1, commit: 5 };
    await (await openAlone()).persist([{ hardState, entries: LOG }], true);
    const expected: readonly [number, ConfState][] = [
      [0, ALONE],
      [1, ALONE],
      [2, WITH_LEARNER],
      [3, WITH_LEARNER],
      [4, BOTH],
      [5, BOTH],
    ];
    for (const [applied, confState] of expected) {
      const store = await openAlone();
      store.resumeAt(applied);
      expect(store.initialState().confState, `applied ${applied}`).toEqual(confState);
      expect(store.confStateAt(applied)).toEqual(confState);
    }
  });

  it('is known after a crash to whoever has acknowledged what follows the change', async () => {
    // As to one that catches up: the commit index comes in one write with the entries of which it speaks.
    const hardState = { term: 1, vote: 1, commit: 3 };
    await (await openAlone()).persist([{ hardState, entries: LOG }], true);
    disk.crash();
    expect((await openAlone()).initialState().hardState).toEqual({ term: 1, vote: 1, commit: 2 });
  });

  it.each([
    [1, ALONE],
    [2, WITH_LEARNER],
    [3, WITH_LEARNER],
    [4, BOTH],
  ] as const)('is kept where the log is compacted up to %i', async (index, atBase) => {
    const hardState = { term: 1, vote: 1, commit: 5 };
    const before = await openAlone();
    await before.persist([{ hardState, entries: LOG }], true);
    await before.compact(index);
    for (const store of [before, await openAlone()]) {
      expect(store.firstIndex()).toBe(index + 1);
      expect(store.confStateAt(index)).toEqual(atBase);
      expect(store.confStateAt(5)).toEqual(BOTH);
    }
    const after = await openAlone();
    after.resumeAt(5);
    expect(after.initialState().confState).toEqual(BOTH);
  });
});
