import { readdir } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { ImageReceiver } from '../../../../storage/image/image-receiver.ts';
import type { ImageStore } from '../../../../storage/image/image-store.ts';
import { CHUNK_BYTES } from '../../../../storage/image/limits.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { systemError } from '../../../support/faulty-disk.ts';
import { addGolden, faultyFileSystem, imageOf, newStore, StoreFetcher } from './image-fixture.ts';

const golden = { name: 'golden', version: 1 };

function receiverOf(store: ImageStore, fetcher: StoreFetcher, counters = new CounterSet()): ImageReceiver {
  return new ImageReceiver({ store, fetcher, logger: silentLogger, counters });
}

async function twoHolders(content: Uint8Array) {
  const [a, b] = [await newStore(), await newStore()];
  const manifestSha256 = await addGolden(a, content);
  await addGolden(b, content);
  return { a, b, wanted: { ...golden, manifestSha256, holders: ['a', 'b'] } };
}

describe('ImageReceiver', () => {
  it('brings a version over, asking for no chunk of zeros and none twice', async () => {
    const { a, b, wanted } = await twoHolders(imageOf([1, 0, 2, 3, 0, 4], 512));
    const store = await newStore();
    const fetcher = new StoreFetcher({ a, b });
    const progress: string[] = [];
    await receiverOf(store, fetcher).receive(wanted, {
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    expect(await store.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
    const chunks = fetcher.asked.map((asked) => asked.slice(2)).sort();
    expect(chunks).toEqual(['chunk 0', 'chunk 2', 'chunk 3', 'chunk 5', 'manifest']);
    expect(new Set(fetcher.asked.map((asked) => asked[0]))).toEqual(new Set(['a', 'b']));
    expect(progress).toEqual(['0/4', '1/4', '2/4', '3/4', '4/4']);
  });

  it('refuses damaged chunks and manifests, counts them and asks another holder', async () => {
    const { a, b, wanted } = await twoHolders(imageOf([1, 2, 3]));
    const store = await newStore();
    const fetcher = new StoreFetcher({ a, b });
    fetcher.tamper = (from, what, bytes) => {
      if (from === 'b') return bytes;
      if (what === 'chunk 2') return bytes.subarray(1);
      const broken = Buffer.from(bytes);
      broken[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1;
      return broken;
    };
    const counters = new CounterSet();
    await receiverOf(store, fetcher, counters).receive(wanted);
    expect(await store.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
    expect(counters.get('image.manifest.damaged')).toBe(1);
    expect(counters.get('image.chunk.damaged')).toBe(2);
    expect(counters.get('image.chunk.fetched')).toBe(3);
  });

  it('goes on where it was after a restart, and trusts only what it verifies', async () => {
    const { a, b, wanted } = await twoHolders(imageOf([1, 2, 3, 4, 5, 6, 7, 8]));
    const first = await newStore();
    const failing = new StoreFetcher({ a, b });
    failing.tamper = (_, what, bytes) => {
      if (what === 'chunk 5') throw new Error('unreachable');
      return bytes;
    };
    await expect(receiverOf(first, failing).receive(wanted)).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'no-sound-copy',
    });
    expect(await first.open(golden)).toBeUndefined();
    await first.start();
    const file = await first.fileSystem.open(`${first.directory.fetch(golden)}/image.raw`);
    await file.write([Buffer.alloc(3, 9)], 1024 * 1024 + 100);
    await file.close();
    const fetcher = new StoreFetcher({ a, b });
    await receiverOf(first, fetcher).receive(wanted);
    expect(await first.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
    const refetched = fetcher.asked.map((asked) => asked.slice(2));
    expect(refetched).toContain('chunk 1');
    expect(refetched).toContain('chunk 5');
    for (const kept of ['manifest', 'chunk 0', 'chunk 2', 'chunk 3', 'chunk 4']) {
      expect(refetched).not.toContain(kept);
    }
  });

  it('starts afresh when other content was staged under the name', async () => {
    const old = await twoHolders(imageOf([1, 2]));
    const store = await newStore();
    const failing = new StoreFetcher({ a: old.a, b: old.b });
    failing.tamper = (_, what, bytes) => {
      if (what === 'chunk 0') throw new Error('unreachable');
      return bytes;
    };
    await expect(receiverOf(store, failing).receive(old.wanted)).rejects.toThrow('no node gave');
    const { a, b, wanted } = await twoHolders(imageOf([3, 0]));
    await receiverOf(store, new StoreFetcher({ a, b })).receive(wanted);
    expect(await store.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
  });

  it('tells of a full disk, commits nothing, and succeeds later', async () => {
    const { a, b, wanted } = await twoHolders(imageOf([1, 2]));
    let isFull = true;
    const store = await newStore(
      faultyFileSystem((op, path) =>
        isFull && op === 'write' && path.endsWith('image.raw') ? systemError('ENOSPC') : undefined,
      ),
    );
    const receiver = receiverOf(store, new StoreFetcher({ a, b }));
    await expect(receiver.receive(wanted)).rejects.toMatchObject({ kind: 'no-space' });
    expect(await store.open(golden)).toBeUndefined();
    isFull = false;
    await receiver.receive(wanted);
    expect(await store.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
  });

  it('does not begin what would take the part of the disk that is left to others', async () => {
    const { a, b, wanted } = await twoHolders(imageOf([1, 0, 2]));
    const totalBytes = 80 * CHUNK_BYTES;
    let freeBytes = totalBytes / 8 + 2 * CHUNK_BYTES - 1;
    const store = await newStore({ ...nodeFileSystem, space: async () => ({ freeBytes, totalBytes }) });
    const receiver = receiverOf(store, new StoreFetcher({ a, b }));
    await expect(receiver.receive(wanted)).rejects.toMatchObject({ kind: 'no-space' });
    expect(await readdir(store.directory.fetch(wanted))).toEqual(['manifest']);
    freeBytes++;
    await receiver.receive(wanted);
    expect(await store.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
  });

  it('ends with the same content whatever the holders do, as long as one is right', async () => {
    const chunk = fc.nat(3);
    const behaviour = fc.array(fc.constantFrom('right', 'damaged', 'fails'), { minLength: 5, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { minLength: 1, maxLength: 4 }), behaviour, async (chunks, acts) => {
        const { a, b, wanted } = await twoHolders(imageOf(chunks, 4096));
        const store = await newStore();
        const fetcher = new StoreFetcher({ a, b });
        fetcher.tamper = (from, _, bytes) => {
          const act = from === 'b' ? 'right' : acts[fetcher.asked.length % acts.length];
          if (act === 'fails') throw new Error('unreachable');
          return act === 'damaged' ? Buffer.alloc(bytes.length, 0x55) : bytes;
        };
        await receiverOf(store, fetcher).receive(wanted);
        expect(await store.verify(golden, wanted.manifestSha256)).toEqual({ outcome: 'sound' });
      }),
      { numRuns: 8 },
    );
  });
});
