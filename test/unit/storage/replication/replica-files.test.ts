import { expect, it } from 'vitest';
import type { MendableLog } from '../../../../base/record-log.ts';
import type { MetaStore } from '../../../../storage/replication/index.ts';
import { ReplicaFiles } from '../../../../storage/replication/replica-files.ts';

/** Meta files in memory. */
function metaStore() {
  const files = new Map<string, Uint8Array>();
  const store: MetaStore = {
    load: (groupId) => Promise.resolve(files.get(groupId)),
    save: (groupId, bytes) => {
      files.set(groupId, bytes);
      return Promise.resolve();
    },
  };
  return { store, files };
}

/** Records 1 to 8; it is emptied or it is not. */
function fakeLog() {
  const log = {
    firstIndex: 1,
    nextIndex: 9,
    durableNextIndex: 9,
    resets: [] as number[],
    resetTo: (index: number) => {
      log.resets.push(index);
      Object.assign(log, { firstIndex: index, nextIndex: index, durableNextIndex: index });
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  return log;
}

const GIVEN = { baseIndex: 5, luns: [], lunsIndex: 7, epochs: [{ epoch: 3, startIndex: 1 }] };

it('a log that was being emptied when the process ended is emptied by the next one', async () => {
  const { store } = metaStore();
  const log = fakeLog();
  const open = () => ReplicaFiles.open('g', store, () => Promise.resolve(log as unknown as MendableLog));
  const first = await open();
  // Everything before it has its place in the file, but the process comes no further.
  void first.replace(GIVEN, () => new Promise(() => {}));
  await new Promise(setImmediate);
  expect(log.nextIndex).toBe(9);
  const second = await open();
  // Of its records none is the new primary's, though their numbers are behind the new base.
  expect(log.resets).toEqual([5]);
  expect(second.view()).toMatchObject({ baseIndex: 5, lunsIndex: 7, nextIndex: 5, appendedIndex: 5 });
  expect(second.meta.resetting).toBe(false);
  await open();
  expect(log.resets).toEqual([5]);
});

it('a log that was emptied is not emptied again by the next process', async () => {
  const { store } = metaStore();
  const log = fakeLog();
  const open = () => ReplicaFiles.open('g', store, () => Promise.resolve(log as unknown as MendableLog));
  await (await open()).replace(GIVEN, () => log.resetTo(5));
  Object.assign(log, { nextIndex: 8 });
  expect((await open()).view()).toMatchObject({ baseIndex: 5, nextIndex: 8 });
  expect(log.resets).toEqual([5]);
});

it('a log that does not reach where it should begin is not taken', async () => {
  const { store } = metaStore();
  const log = fakeLog();
  const open = () => ReplicaFiles.open('g', store, () => Promise.resolve(log as unknown as MendableLog));
  await (await open()).replace(GIVEN, () => log.resetTo(5));
  for (const [firstIndex, nextIndex] of [
    [6, 8],
    [1, 4],
  ] as const) {
    Object.assign(log, { firstIndex, nextIndex });
    await expect(open()).rejects.toMatchObject({ code: 'bad-meta' });
  }
  Object.assign(log, { firstIndex: 1, nextIndex: 5 });
  expect((await open()).view().baseIndex).toBe(5);
});
