import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { BootFileStore } from '../../../../storage/image/boot-file-store.ts';
import { ContentReplicator } from '../../../../storage/image/content-replicator.ts';
import type { ImageVersionRef } from '../../../../storage/image/image-source.ts';
import { ImageStore } from '../../../../storage/image/image-store.ts';
import { CHUNK_BYTES, REMOVAL_RETRY_MS } from '../../../../storage/image/limits.ts';
import {
  addGolden,
  faultyFileSystem,
  imageOf,
  inParts,
  newStore,
  StoreFetcher,
  temporaryDirectory,
} from './image-fixture.ts';

/** Everything is synced, on a disk that may have much else to do. */
const SLOW_DISK = { timeout: 20_000 };
const ONE = { name: 'golden', version: 1 };
const TWO = { name: 'golden', version: 2 };

const is =
  (...removed: readonly ImageVersionRef[]) =>
  ({ name, version }: ImageVersionRef): boolean =>
    removed.some((ref) => ref.name === name && ref.version === version);

async function addVersion(store: ImageStore, version: number, seed: number): Promise<string> {
  const content = imageOf([seed]);
  const { token, manifestSha256 } = await store.importRaw('golden', inParts(content), {
    sizeBytes: content.length,
  });
  await store.commitImport(token, version);
  return manifestSha256;
}

async function replicatorOver(store: ImageStore, clock = new ManualClock()): Promise<ContentReplicator> {
  const bootFiles = new BootFileStore({ directory: await temporaryDirectory() });
  return new ContentReplicator({
    nodeId: 'n1',
    images: store,
    bootFiles,
    fetcher: new StoreFetcher({}),
    held: () => Promise.resolve(),
    clock,
    timers: clock,
    logger: silentLogger,
    counters: new CounterSet(),
  });
}

const wanted = (images: readonly (ImageVersionRef & { manifestSha256: string })[], isRemoved = is()) => ({
  images: images.map((image) => ({ ...image, holders: ['n1'] })),
  bootFiles: [],
  isRemoved,
});

const versionsOf = async (store: ImageStore): Promise<number[]> =>
  (await store.versions()).map((ref) => ref.version).sort((a, b) => a - b);

describe('files of image versions that the cluster has removed', SLOW_DISK, () => {
  it('are given back when it does, and those of others stay', async () => {
    const store = await newStore();
    const one = { ...ONE, manifestSha256: await addGolden(store, imageOf([1])) };
    const two = { ...TWO, manifestSha256: await addVersion(store, 2, 2) };
    const replicator = await replicatorOver(store);
    replicator.update(wanted([one, two]));
    replicator.update(wanted([two], is(ONE)));
    await vi.waitFor(async () => expect(await versionsOf(store)).toEqual([2]));
    await replicator.stop();
    expect(await store.holds(TWO, two.manifestSha256)).toBe(true);
    expect(await readdir(store.directory.staging)).toEqual([]);
    expect(await store.manifest(ONE)).toBeUndefined();
  });

  it('are given back by a node that was down meanwhile, when it starts', async () => {
    const store = await newStore();
    await addGolden(store, imageOf([1]));
    const two = { ...TWO, manifestSha256: await addVersion(store, 2, 2) };
    const replicator = await replicatorOver(store);
    replicator.update(wanted([two], is(ONE)));
    await vi.waitFor(async () => expect(await versionsOf(store)).toEqual([2]));
    await replicator.stop();
  });

  it('stay where the cluster knows nothing of the version', async () => {
    const store = await newStore();
    await addGolden(store, imageOf([1]));
    const replicator = await replicatorOver(store);
    replicator.update(wanted([]));
    await replicator.stop();
    expect(await versionsOf(store)).toEqual([1]);
  });

  it('are read on by whoever has them open', async () => {
    const store = await newStore();
    await addGolden(store, imageOf([1, 2]));
    const image = await store.open(ONE);
    await store.remove(ONE);
    expect(await store.open(ONE)).toBeUndefined();
    const read = await image?.read(CHUNK_BYTES, CHUNK_BYTES);
    expect(read?.[CHUNK_BYTES - 1]).toBe(2);
    await image?.close();
  });

  it('are tried again where they could not be removed', async () => {
    let failures = 0;
    let isBroken = true;
    const fault = (operation: string): Error | undefined => {
      if (!isBroken || operation !== 'rename') return undefined;
      failures++;
      return new Error('the device does not answer');
    };
    const directory = await temporaryDirectory();
    const whole = new ImageStore({ directory });
    await whole.start();
    await addGolden(whole, imageOf([1]));
    const store = new ImageStore({ directory, fileSystem: faultyFileSystem(fault) });
    const clock = new ManualClock();
    const replicator = await replicatorOver(store, clock);
    replicator.update(wanted([], is(ONE)));
    await vi.waitFor(() => expect(failures).toBe(1));
    expect(await versionsOf(store)).toEqual([1]);
    isBroken = false;
    await vi.waitFor(async () => {
      clock.advance(REMOVAL_RETRY_MS);
      expect(await versionsOf(store)).toEqual([]);
    });
    await replicator.stop();
  });

  it('are gone after a start where they were half removed', async () => {
    const directory = await temporaryDirectory();
    const store = new ImageStore({ directory });
    await store.start();
    await addGolden(store, imageOf([1]));
    await rename(store.directory.version(ONE), store.directory.removed(ONE));
    const next = new ImageStore({ directory });
    await next.start();
    expect(await readdir(join(next.directory.root, 'staging'))).toEqual([]);
    expect(await next.versions()).toEqual([]);
  });
});
