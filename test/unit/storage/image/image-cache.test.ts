import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { ImageCache } from '../../../../storage/image/image-cache.ts';
import type { ImageSource, OpenImage } from '../../../../storage/image/image-source.ts';
import { CACHE_PAGE_BYTES, MAX_PAGES_COPIED_NOW, MIN_CACHE_BYTES } from '../../../../storage/image/limits.ts';

const PAGES = MIN_CACHE_BYTES / CACHE_PAGE_BYTES;
const REF = { name: 'i', version: 1 };

function byteAt(offset: number): number {
  return (Math.floor(offset / 512) * 7 + 3) & 0xff;
}

/** An image of known content that counts what is asked of it. */
class CountingImage implements OpenImage {
  readonly sizeBytes = 4 * MIN_CACHE_BYTES;
  reads: number[] = [];
  isClosed = false;
  hold: Promise<void> = Promise.resolve();
  failure: Error | undefined;

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    this.reads.push(offsetBytes);
    await this.hold;
    if (this.failure !== undefined) throw this.failure;
    const bytes = Buffer.alloc(lengthBytes);
    for (let i = 0; i < lengthBytes; i += 512 - ((offsetBytes + i) % 512)) {
      bytes.fill(byteAt(offsetBytes + i), i, i + 512);
    }
    return bytes;
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

/** One of which the system has in memory what it is told to have. */
class ImageAtHand extends CountingImage {
  readonly copied: number[] = [];
  isAtHand = true;

  readNow(offsetBytes: number, lengthBytes: number): readonly Uint8Array[] | undefined {
    if (!this.isAtHand) return undefined;
    this.copied.push(offsetBytes / CACHE_PAGE_BYTES);
    return [Buffer.alloc(lengthBytes, byteAt(offsetBytes))];
  }
}

async function make<T extends CountingImage = CountingImage>(
  image: T = new CountingImage() as T,
): Promise<{
  image: T;
  cache: ImageCache;
  source: ImageSource;
  opened: OpenImage;
}> {
  const cache = new ImageCache({ limitBytes: MIN_CACHE_BYTES, counters: new CounterSet() });
  const source = cache.over({ open: () => Promise.resolve(image) });
  return { image, cache, source, opened: (await source.open(REF)) as OpenImage };
}

function now(image: OpenImage, offset: number, length: number): Buffer | undefined {
  const parts = image.readNow?.(offset, length);
  return parts === undefined ? undefined : Buffer.concat(parts);
}

describe('the image cache', () => {
  it('has nothing at once before it was read, and everything after, across pages', async () => {
    const { image, opened } = await make();
    const offset = CACHE_PAGE_BYTES - 1024;
    const length = 2 * CACHE_PAGE_BYTES;
    expect(now(opened, offset, length)).toBeUndefined();
    const read = Buffer.from(await opened.read(offset, length));
    expect(read.every((byte, i) => byte === byteAt(offset + i))).toBe(true);
    expect(now(opened, offset, length)?.equals(read)).toBe(true);
    expect(image.reads).toEqual([0, CACHE_PAGE_BYTES, 2 * CACHE_PAGE_BYTES]);
    expect(now(opened, offset, length + CACHE_PAGE_BYTES)).toBeUndefined();
  });

  it('takes at once what the image has in memory, a few pages for one read, and no page that is on its way', async () => {
    const { image, opened } = await make(new ImageAtHand());
    expect(now(opened, 512, 1024)?.[0]).toBe(byteAt(0));
    expect(now(opened, 0, CACHE_PAGE_BYTES)).toHaveLength(CACHE_PAGE_BYTES);
    expect(now(opened, 0, (MAX_PAGES_COPIED_NOW + 4) * CACHE_PAGE_BYTES)).toBeUndefined();
    expect(image.copied).toEqual(Array.from({ length: MAX_PAGES_COPIED_NOW }, (_, i) => i));
    expect(image.reads).toEqual([]);
    let go = (): void => {};
    image.hold = new Promise((resolve) => (go = resolve));
    image.isAtHand = false;
    const onItsWay = opened.read(100 * CACHE_PAGE_BYTES, 512);
    image.isAtHand = true;
    expect(now(opened, 100 * CACHE_PAGE_BYTES, 512)).toBeUndefined();
    go();
    expect((await onItsWay)[0]).toBe(byteAt(100 * CACHE_PAGE_BYTES));
    expect(now(opened, 100 * CACHE_PAGE_BYTES, 512)?.[0]).toBe(byteAt(100 * CACHE_PAGE_BYTES));
  });

  it('reads a page once for all that ask for it, of whatever LUN', async () => {
    const { image, source, opened } = await make();
    const other = (await source.open(REF)) as OpenImage;
    let go = (): void => {};
    image.hold = new Promise((resolve) => (go = resolve));
    const reads = Array.from({ length: 20 }, (_, i) => (i % 2 ? opened : other).read(i * 512, 512));
    go();
    await Promise.all(reads);
    expect(image.reads).toEqual([0]);
  });

  it('keeps nothing of a read that failed', async () => {
    const { image, opened } = await make();
    image.failure = new Error('medium');
    await expect(opened.read(0, 512)).rejects.toThrow('medium');
    image.failure = undefined;
    expect((await opened.read(0, 512))[0]).toBe(byteAt(0));
    expect(image.reads).toEqual([0, 0]);
  });

  it('stays within its bound, with the right content whatever is evicted', async () => {
    const { cache, opened } = await make();
    const random = new SeededRandom(4);
    for (let i = 0; i < 3000; i++) {
      const offset = random.below(4 * MIN_CACHE_BYTES - 8192);
      const found = now(opened, offset, 8192) ?? (await opened.read(offset, 8192));
      for (const at of [0, 4096, 8191]) expect(found[at]).toBe(byteAt(offset + at));
    }
    expect(cache.sizeBytes).toBe(MIN_CACHE_BYTES);
  });

  it('leaves a view as it was when its page is evicted', async () => {
    const { opened } = await make();
    await opened.read(0, 512);
    const view = opened.readNow?.(512, 512)?.[0] as Uint8Array;
    const before = Buffer.from(view);
    for (let page = 1; page < 3 * PAGES; page++) await opened.read(page * CACHE_PAGE_BYTES, 512);
    expect(now(opened, 512, 512)).toBeUndefined();
    expect(before.equals(view)).toBe(true);
  });

  it('keeps what is used again through a scan, even one of small steps', async () => {
    const { opened } = await make();
    const hot = Array.from({ length: PAGES / 2 }, (_, i) => i * CACHE_PAGE_BYTES);
    for (const offset of hot) await opened.read(offset, 4096);
    for (const offset of hot) now(opened, offset, 4096);
    const step = CACHE_PAGE_BYTES / 4;
    for (let offset = MIN_CACHE_BYTES; offset < 4 * MIN_CACHE_BYTES; offset += step) {
      if (now(opened, offset, step) === undefined) await opened.read(offset, step);
      // The others go on booting.
      if (offset % (16 * CACHE_PAGE_BYTES) === 0) for (const at of hot) now(opened, at, 4096);
    }
    expect(hot.filter((offset) => now(opened, offset, 4096) !== undefined)).toHaveLength(hot.length);
  });

  it('lets go of the image and its pages with the last who has it open', async () => {
    const { image, cache, source, opened } = await make();
    const other = (await source.open(REF)) as OpenImage;
    await other.read(0, 512);
    await opened.close();
    await opened.close();
    expect(image.isClosed).toBe(false);
    expect(now(other, 0, 512)).toBeDefined();
    await other.close();
    expect(image.isClosed).toBe(true);
    expect(cache.sizeBytes).toBe(0);
  });
});
