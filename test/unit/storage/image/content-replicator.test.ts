import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { BootFileStore } from '../../../../storage/image/boot-file-store.ts';
import { ContentReplicator } from '../../../../storage/image/content-replicator.ts';
import { ImageStore } from '../../../../storage/image/image-store.ts';
import { BOOT_FILE_KEPT_MS, MAX_FETCHES, RETRY_LAST_MS } from '../../../../storage/image/limits.ts';
import {
  type ContentItem,
  decideReplication,
  failed,
  held,
  type ItemState,
  itemKey,
  itemsOf,
  working,
} from '../../../../storage/image/replication-decision.ts';
import { addGolden, imageOf, inParts, newStore, StoreFetcher, temporaryDirectory } from './image-fixture.ts';

/** Everything is synced, on a disk that may have much else to do. */
const SLOW_DISK = { timeout: 20_000 };

const wanted = {
  images: [1, 2, 3].map((version) => ({ name: 'i', version, manifestSha256: 'h', holders: ['a'] })),
  bootFiles: [{ name: 'f', sha256: 's', holders: ['a'] }],
};

describe('decideReplication', () => {
  it('starts boot files first, and only so many at a time', () => {
    const { start, wakeAtMs } = decideReplication(wanted, new Map(), 0);
    expect(start.map(itemKey)).toEqual(['boot-file/f/s', 'image/i/1/h']);
    expect(wakeAtMs).toBeUndefined();
  });

  it('waits longer after each failure, but not when another node holds it', () => {
    const [item] = itemsOf(wanted) as [ContentItem];
    const once = failed(working(item, undefined), 1000);
    expect(once.notBeforeMs).toBe(1500);
    const twice = failed(working(item, once), 2000);
    expect(twice.notBeforeMs).toBe(3000);
    const others = itemsOf(wanted)
      .slice(1)
      .map((i) => [itemKey(i), held(working(i, undefined))] as const);
    const states = new Map<string, ItemState>([[itemKey(item), twice], ...others]);
    expect(decideReplication(wanted, states, 2999)).toEqual({ start: [], wakeAtMs: 3000 });
    expect(decideReplication(wanted, states, 3000).start).toEqual([item]);
    const more = { ...wanted, bootFiles: [{ name: 'f', sha256: 's', holders: ['a', 'b'] }] };
    expect(decideReplication(more, states, 2000).start).toHaveLength(1);
  });

  it('never has more under way than allowed, and holds everything once fetching works', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 60 }), (outcomes) => {
        const states = new Map<string, ItemState>();
        let now = 0;
        for (const outcome of [...outcomes, ...Array.from({ length: 40 }, () => 0)]) {
          const { start } = decideReplication(wanted, states, now);
          for (const item of start) states.set(itemKey(item), working(item, states.get(itemKey(item))));
          const busy = [...states].filter(([, state]) => state.phase === 'working');
          expect(busy.length).toBeLessThanOrEqual(MAX_FETCHES);
          const [key, state] = busy[0] ?? [];
          if (key === undefined || state === undefined) now += RETRY_LAST_MS;
          else states.set(key, outcome === 0 ? held(state) : failed(state, now));
        }
        expect([...states.values()].every((state) => state.phase === 'held')).toBe(true);
        expect(states.size).toBe(4);
      }),
    );
  });
});

async function newReplicator(fetcher: StoreFetcher, images?: ImageStore) {
  const clock = new ManualClock();
  const told: string[] = [];
  const store = images ?? (await newStore());
  const bootFiles = new BootFileStore({ directory: await temporaryDirectory() });
  await bootFiles.start();
  const replicator = new ContentReplicator({
    nodeId: 'me',
    images: store,
    bootFiles,
    fetcher,
    held: (item) => {
      told.push(itemKey(item).slice(0, 12));
      return Promise.resolve();
    },
    clock,
    timers: clock,
    logger: silentLogger,
    counters: new CounterSet(),
  });
  return { replicator, clock, told, store, bootFiles };
}

function phases(replicator: ContentReplicator): string[] {
  return replicator.status().map((status) => status.phase);
}

const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

describe('ContentReplicator', () => {
  it('fetches what is missing, tells the cluster, and tries again after a failure', async () => {
    const source = await newStore();
    const manifestSha256 = await addGolden(source, imageOf([1, 0, 2]));
    const fetcher = new StoreFetcher({ a: source }, { a: Buffer.from('abc') });
    fetcher.tamper = () => {
      throw new Error('unreachable');
    };
    const { replicator, clock, told, store, bootFiles } = await newReplicator(fetcher);
    const wanted = {
      images: [{ name: 'golden', version: 1, manifestSha256, holders: ['a'] }],
      bootFiles: [{ name: 'f', sha256: abc, holders: ['a'] }],
    };
    replicator.update(wanted);
    await vi.waitFor(() => expect(phases(replicator)).toEqual(['failed', 'failed']), SLOW_DISK);
    expect(replicator.status()[1]?.lastError).toContain('no node gave a sound copy');
    fetcher.tamper = (_, __, bytes) => bytes;
    clock.advance(600);
    await vi.waitFor(() => expect(phases(replicator)).toEqual(['held', 'held']), SLOW_DISK);
    expect(told.sort()).toEqual(['boot-file/f/', 'image/golden']);
    expect(await store.verify({ name: 'golden', version: 1 }, manifestSha256)).toEqual({ outcome: 'sound' });
    expect(await bootFiles.get(abc)).toBeDefined();
    const asked = fetcher.asked.length;
    replicator.update(wanted);
    await replicator.stop();
    expect(fetcher.asked.length).toBe(asked);
  });

  it('fetches nothing it has, and takes up an upload the cluster knows of', async () => {
    const before = await newStore();
    const content = imageOf([4]);
    const { manifestSha256 } = await before.importRaw('golden', inParts(content), {
      sizeBytes: content.length,
    });
    const images = new ImageStore({ directory: before.directory.root });
    await images.start();
    const fetcher = new StoreFetcher({});
    const { replicator, told, store } = await newReplicator(fetcher, images);
    replicator.update({
      images: [{ name: 'golden', version: 1, manifestSha256, holders: ['me'] }],
      bootFiles: [],
    });
    await vi.waitFor(() => expect(phases(replicator)).toEqual(['held']), SLOW_DISK);
    expect(await store.verify({ name: 'golden', version: 1 }, manifestSha256)).toEqual({ outcome: 'sound' });
    expect([fetcher.asked, told]).toEqual([[], []]);
    await replicator.stop();
  });

  it('removes a boot file that the cluster knows no more, after a while, unless it is wanted again', async () => {
    const { replicator, clock, bootFiles } = await newReplicator(new StoreFetcher({}));
    await bootFiles.put('f', Buffer.from('abc'));
    const { sha256: other } = await bootFiles.put('g', Buffer.from('other'));
    const file = { name: 'f', sha256: abc, holders: ['me'] };
    const wanted = { images: [], bootFiles: [file] };
    const nothing = { images: [], bootFiles: [] };
    replicator.update(wanted);
    replicator.update(nothing);
    clock.advance(BOOT_FILE_KEPT_MS - 1);
    replicator.update({ images: [], bootFiles: [{ ...file, name: 'under another name' }] });
    clock.advance(2 * BOOT_FILE_KEPT_MS);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await bootFiles.get(abc)).toBeDefined();
    replicator.update(nothing);
    clock.advance(BOOT_FILE_KEPT_MS);
    await vi.waitFor(async () => expect(await bootFiles.get(abc)).toBeUndefined(), SLOW_DISK);
    // Of what it has never heard, it cannot know whether the cluster is about to.
    expect(await bootFiles.get(other)).toBeDefined();
    await replicator.stop();
  });

  it('counts a file as not held until the cluster was told', async () => {
    const { replicator, clock, told, bootFiles } = await newReplicator(new StoreFetcher({}));
    await bootFiles.put('f', Buffer.from('abc'));
    const push = told.push.bind(told);
    told.push = () => {
      throw new Error('no leader');
    };
    replicator.update({ images: [], bootFiles: [{ name: 'f', sha256: abc, holders: [] }] });
    await vi.waitFor(() => expect(phases(replicator)).toEqual(['failed']), SLOW_DISK);
    told.push = push;
    clock.advance(600);
    await vi.waitFor(() => expect(phases(replicator)).toEqual(['held']), SLOW_DISK);
    expect(told).toHaveLength(1);
    await replicator.stop();
  });
});
