import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { MANIFEST_FILE, RAW_FILE } from '../../../../storage/image/image-directory.ts';
import { ImageManifest } from '../../../../storage/image/image-manifest.ts';
import { ImageMender } from '../../../../storage/image/image-mender.ts';
import type { OpenImage } from '../../../../storage/image/image-source.ts';
import { ImageStore } from '../../../../storage/image/image-store.ts';
import { CACHE_PAGE_BYTES, CHUNK_BYTES } from '../../../../storage/image/limits.ts';
import { PAGES_FILE, PageChecksums } from '../../../../storage/image/page-checksums.ts';
import { addGolden, imageOf, newStore, StoreFetcher } from './image-fixture.ts';

const REF = { name: 'golden', version: 1 };
const CONTENT = imageOf([1, 2, 0, 3], 100_352);

interface Node {
  readonly store: ImageStore;
  /** The same files, read as a worker does. */
  readonly reader: ImageStore;
  readonly counters: CounterSet;
  file(name: string): string;
}

/** A node with the image, whose neighbours have it as `fetcher` shows. */
async function holding(fetcher: StoreFetcher, holders: readonly string[]): Promise<Node> {
  const store = await newStore();
  const manifestSha256 = await addGolden(store, CONTENT);
  const counters = new CounterSet();
  const wanted = () => ({ ...REF, manifestSha256, holders });
  const mender = new ImageMender({ store, fetcher, wanted, logger: silentLogger, counters });
  const reader = new ImageStore({
    directory: store.directory.root,
    mend: (ref, part) => mender.mend(ref, part),
    manifestSha256: () => manifestSha256,
  });
  return { store, reader, counters, file: (name) => join(store.directory.version(REF), name) };
}

async function alone(): Promise<Node> {
  return holding(new StoreFetcher({}), []);
}

async function withPeer(): Promise<Node & { fetcher: StoreFetcher }> {
  const peer = await newStore();
  await addGolden(peer, CONTENT);
  const fetcher = new StoreFetcher({ n2: peer });
  return { ...(await holding(fetcher, ['n2'])), fetcher };
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0x08, at);
  await writeFile(path, bytes);
}

async function reading<T>(node: Node, use: (image: OpenImage) => Promise<T>): Promise<T> {
  const image = (await node.reader.open(REF)) as OpenImage;
  try {
    return await use(image);
  } finally {
    await image.close();
  }
}

describe('an image that is read', () => {
  it('is what was imported, wherever it is read, with checksums of pages and without', async () => {
    const node = await alone();
    for (const hasPages of [true, false]) {
      if (!hasPages) await rm(node.file(PAGES_FILE));
      await reading(node, async (image) => {
        await fc.assert(
          fc.asyncProperty(fc.nat(CONTENT.length), fc.nat(200_000), async (at, length) => {
            const expected = Buffer.alloc(length);
            CONTENT.copy(expected, 0, at, at + length);
            expect(Buffer.compare(await image.read(at, length), expected)).toBe(0);
          }),
          { numRuns: 20 },
        );
      });
    }
  });

  it('is mended where it is damaged, and nothing else is ever given out', async () => {
    const node = await withPeer();
    const at = CHUNK_BYTES + 3 * CACHE_PAGE_BYTES + 77;
    await flip(node.file(RAW_FILE), at);
    const read = await reading(node, (image) => image.read(at - 1000, 2000));
    expect(Buffer.compare(read, CONTENT.subarray(at - 1000, at + 1000))).toBe(0);
    expect(Buffer.compare(await readFile(node.file(RAW_FILE)), CONTENT)).toBe(0);
    expect(node.counters.get('image.chunk.mended')).toBe(1);
    expect(node.fetcher.asked).toEqual(['n2 chunk 1']);
  });

  it('is given out at once only where it is sound', async () => {
    const node = await alone();
    const damagedAt = CHUNK_BYTES + 3 * CACHE_PAGE_BYTES + 77;
    await flip(node.file(RAW_FILE), damagedAt);
    await reading(node, async (image) => {
      let given = 0;
      for (let at = 0; at < CONTENT.length; at += CACHE_PAGE_BYTES) {
        const parts = image.readNow?.(at, CACHE_PAGE_BYTES);
        if (at === damagedAt - (damagedAt % CACHE_PAGE_BYTES)) expect(parts).toBeUndefined();
        if (parts === undefined) continue;
        const expected = Buffer.alloc(CACHE_PAGE_BYTES);
        CONTENT.copy(expected, 0, at, at + CACHE_PAGE_BYTES);
        expect(Buffer.compare(Buffer.concat(parts), expected)).toBe(0);
        given++;
      }
      // All other pages, or none where the file system has no such read.
      expect([0, Math.ceil(CONTENT.length / CACHE_PAGE_BYTES) - 1]).toContain(given);
      expect(image.readNow?.(damagedAt - CACHE_PAGE_BYTES, 2 * CACHE_PAGE_BYTES)).toBeUndefined();
    });
  });

  it('takes nothing from others that does not match its SHA-256', async () => {
    const node = await withPeer();
    node.fetcher.tamper = (_, __, bytes) => {
      const other = Buffer.from(bytes);
      other.writeUInt8(other.readUInt8(5) ^ 1, 5);
      return other;
    };
    await flip(node.file(RAW_FILE), 10);
    await expect(reading(node, (image) => image.read(0, 512))).rejects.toMatchObject({
      kind: 'medium-error',
      lba: 0,
    });
    expect(node.counters.get('image.chunk.mended')).toBe(0);
  });

  it('is a medium error in the damaged page alone where no other node has it', async () => {
    const node = await alone();
    const page = 20;
    await flip(node.file(RAW_FILE), page * CACHE_PAGE_BYTES + 5);
    await reading(node, async (image) => {
      const start = page * CACHE_PAGE_BYTES;
      await expect(image.read(start, 512)).rejects.toMatchObject({ kind: 'medium-error', lba: start / 512 });
      for (const at of [start - 512, start + CACHE_PAGE_BYTES]) {
        expect(Buffer.compare(await image.read(at, 512), CONTENT.subarray(at, at + 512))).toBe(0);
      }
    });
  });

  it('is found sound where only its checksums of pages are damaged', async () => {
    const node = await alone();
    const pages = await readFile(node.file(PAGES_FILE));
    const manifest = ImageManifest.decode(await readFile(node.file(MANIFEST_FILE)));
    const sha = pages.subarray(8, 40);
    const wrong = PageChecksums.decode(pages, manifest, sha) as PageChecksums;
    wrong.setCrcs(
      0,
      Array.from({ length: 16 }, (_, i) => i),
    );
    await writeFile(node.file(PAGES_FILE), wrong.encode(sha));
    const read = await reading(node, (image) => image.read(0, CONTENT.length));
    expect(Buffer.compare(read, CONTENT)).toBe(0);
    await flip(node.file(PAGES_FILE), 60);
    expect(PageChecksums.decode(await readFile(node.file(PAGES_FILE)), manifest, sha)).toBeUndefined();
    expect(Buffer.compare(await reading(node, (image) => image.read(0, 512)), CONTENT.subarray(0, 512))).toBe(
      0,
    );
  });

  it('is a medium error where its manifest is damaged and no other node gives it', async () => {
    const node = await alone();
    await flip(node.file(MANIFEST_FILE), 30);
    await expect(node.reader.open(REF)).rejects.toMatchObject({ kind: 'medium-error' });
  });

  it('has a file made anew that is cut short, and a damaged manifest too', async () => {
    const node = await withPeer();
    const raw = await readFile(node.file(RAW_FILE));
    await writeFile(node.file(RAW_FILE), raw.subarray(0, CHUNK_BYTES));
    const read = await reading(node, (image) => image.read(0, CONTENT.length));
    expect(Buffer.compare(read, CONTENT)).toBe(0);
    expect(Buffer.compare(await readFile(node.file(RAW_FILE)), CONTENT)).toBe(0);
    const manifest = await readFile(node.file(MANIFEST_FILE));
    await flip(node.file(MANIFEST_FILE), 30);
    // By the damaged manifest a chunk would be wrong; by what the cluster agreed on it is not.
    expect(
      Buffer.compare(
        await reading(node, (image) => image.read(0, CHUNK_BYTES)),
        CONTENT.subarray(0, CHUNK_BYTES),
      ),
    ).toBe(0);
    expect(Buffer.compare(await readFile(node.file(MANIFEST_FILE)), manifest)).toBe(0);
    expect(Buffer.compare(await reading(node, (image) => image.read(0, 512)), CONTENT.subarray(0, 512))).toBe(
      0,
    );
  });
});
