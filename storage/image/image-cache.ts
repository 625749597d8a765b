import type { Counters } from '../../base/counters.ts';
import { invariant } from '../../base/errors.ts';
import type { ImageSource, ImageVersionRef, OpenImage } from './image-source.ts';
import { CACHE_PAGE_BYTES, MAX_PAGES_COPIED_NOW, MIN_CACHE_BYTES } from './limits.ts';

/** Part of an image, in memory. Never written to: whoever was handed a view may keep it after eviction. */
interface Page {
  readonly owner: SharedImage;
  readonly number: number;
  readonly bytes: Uint8Array;
  /** Asked for again since the hand passed. */
  visited: boolean;
  /** Where the last read of it ended; one that goes on from there is no new use of it. */
  readEnd: number;
  newer: Page | undefined;
  older: Page | undefined;
}

/**
 * One bounded cache of image pages, for all LUNs of one worker: a page is read once for whoever asks, and
 * handed out as views. Eviction is SIEVE (Zhang et al., NSDI 2024): a queue in order of arrival, and a hand that
 * goes from the oldest to the newest, sparing what was used since it came by. A page that is only read through
 * once, be it in small steps, counts as used once, so a scan does not wash out what many boots share.
 */
export class ImageCache {
  readonly #maxPages: number;
  readonly #counters: Counters;
  readonly #shared = new Map<string, SharedImage>();
  #newest: Page | undefined;
  #oldest: Page | undefined;
  #hand: Page | undefined;
  #count = 0;

  /** @param limitBytes of page content; whoever still sends evicted pages holds them beyond it */
  constructor(options: { limitBytes: number; counters: Counters }) {
    this.#maxPages = Math.floor(Math.max(options.limitBytes, MIN_CACHE_BYTES) / CACHE_PAGE_BYTES);
    this.#counters = options.counters;
  }

  get sizeBytes(): number {
    return this.#count * CACHE_PAGE_BYTES;
  }

  /** The same images, read through this cache. A version opened several times is opened once underneath. */
  over(source: ImageSource): ImageSource {
    return { open: (ref) => this.#open(source, ref) };
  }

  async #open(source: ImageSource, ref: ImageVersionRef): Promise<OpenImage | undefined> {
    const key = `${ref.name}@${ref.version}`;
    const image = await (this.#shared.get(key) ?? this.#share(key, source.open(ref))).open();
    return image;
  }

  #share(key: string, opening: Promise<OpenImage | undefined>): SharedImage {
    const shared = new SharedImage(this, opening, () => {
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
    });
    this.#shared.set(key, shared);
    return shared;
  }

  /** Only for images. */
  countMiss(): void {
    this.#counters.add('image.cache.misses');
  }

  /** Only for images. */
  add(owner: SharedImage, number: number, bytes: Uint8Array): Page {
    while (this.#count >= this.#maxPages) this.#evict();
    const older = this.#newest;
    const page: Page = { owner, number, bytes, visited: false, readEnd: 0, newer: undefined, older };
    if (older === undefined) this.#oldest = page;
    else older.newer = page;
    this.#newest = page;
    this.#count++;
    return page;
  }

  #evict(): void {
    let page = this.#hand ?? this.#oldest;
    invariant(page !== undefined, 'a full cache has pages');
    while (page.visited) {
      page.visited = false;
      page = page.newer ?? (this.#oldest as Page);
    }
    page.owner.forget(page.number);
    this.remove(page);
    this.#hand = page.newer;
    this.#counters.add('image.cache.evictions');
  }

  /** Only for images. */
  remove(page: Page): void {
    if (this.#hand === page) this.#hand = page.newer;
    if (page.older === undefined) this.#oldest = page.newer;
    else page.older.newer = page.newer;
    if (page.newer === undefined) this.#newest = page.older;
    else page.newer.older = page.older;
    this.#count--;
  }
}

/** One image version, as all that have it open share it. */
class SharedImage {
  readonly #cache: ImageCache;
  readonly #opening: Promise<OpenImage | undefined>;
  readonly #onUnused: () => void;
  readonly #pages = new Map<number, Page>();
  /** Pages on their way from the disk. */
  readonly #loading = new Map<number, Promise<Uint8Array>>();
  #users = 0;
  #image: OpenImage | undefined;

  constructor(cache: ImageCache, opening: Promise<OpenImage | undefined>, onUnused: () => void) {
    this.#cache = cache;
    this.#opening = opening;
    this.#onUnused = onUnused;
  }

  async open(): Promise<OpenImage | undefined> {
    this.#users++;
    try {
      this.#image = await this.#opening;
    } catch (error) {
      await this.#leave();
      throw error;
    }
    if (this.#image === undefined) {
      await this.#leave();
      return undefined;
    }
    return new CachedImage(this, this.#image.sizeBytes, () => this.#leave());
  }

  async #leave(): Promise<void> {
    this.#users--;
    if (this.#users > 0) return;
    this.#onUnused();
    for (const page of this.#pages.values()) this.#cache.remove(page);
    this.#pages.clear();
    await Promise.allSettled(this.#loading.values());
    await this.#image?.close();
  }

  /** Only for the cache. */
  forget(pageNumber: number): void {
    this.#pages.delete(pageNumber);
  }

  readNow(offsetBytes: number, lengthBytes: number): readonly Uint8Array[] | undefined {
    const firstPage = Math.floor(offsetBytes / CACHE_PAGE_BYTES);
    const from = offsetBytes - firstPage * CACHE_PAGE_BYTES;
    const endByte = from + lengthBytes;
    const page = this.#pages.get(firstPage) ?? this.#copyNow(firstPage, from);
    if (page === undefined) return undefined;
    if (endByte <= CACHE_PAGE_BYTES) return [viewOf(page, from, endByte)];
    return this.#readAcross(page, from, lengthBytes);
  }

  #readAcross(first: Page, from: number, lengthBytes: number): readonly Uint8Array[] | undefined {
    const endByte = from + lengthBytes;
    const pages: Page[] = [first];
    let mayCopy = MAX_PAGES_COPIED_NOW;
    for (let at = CACHE_PAGE_BYTES; at < endByte; at += CACHE_PAGE_BYTES) {
      const number = first.number + at / CACHE_PAGE_BYTES;
      let page = this.#pages.get(number);
      if (page === undefined && --mayCopy > 0) page = this.#copyNow(number, 0);
      if (page === undefined) return undefined;
      pages.push(page);
    }
    return pages.map((page, i) =>
      viewOf(page, i === 0 ? from : 0, Math.min(CACHE_PAGE_BYTES, endByte - i * CACHE_PAGE_BYTES)),
    );
  }

  /** A page that the system has in memory itself. @param readFrom where the read that wants it begins in it */
  #copyNow(pageNumber: number, readFrom: number): Page | undefined {
    if (this.#image?.readNow === undefined || this.#loading.has(pageNumber)) return undefined;
    const parts = this.#image.readNow(pageNumber * CACHE_PAGE_BYTES, CACHE_PAGE_BYTES);
    const bytes = parts?.[0];
    if (bytes === undefined || parts?.length !== 1) return undefined;
    this.#cache.countMiss();
    const page = this.#cache.add(this, pageNumber, bytes);
    page.readEnd = readFrom;
    this.#pages.set(pageNumber, page);
    return page;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (lengthBytes === 0) return new Uint8Array();
    const endByte = offsetBytes + lengthBytes;
    const parts: Promise<Uint8Array>[] = [];
    for (
      let start = offsetBytes - (offsetBytes % CACHE_PAGE_BYTES);
      start < endByte;
      start += CACHE_PAGE_BYTES
    ) {
      const from = Math.max(offsetBytes - start, 0);
      const to = Math.min(endByte - start, CACHE_PAGE_BYTES);
      parts.push(this.#part(start / CACHE_PAGE_BYTES, from, to));
    }
    const found = await Promise.all(parts);
    return found.length === 1 ? (found[0] as Uint8Array) : Buffer.concat(found);
  }

  async #part(pageNumber: number, from: number, to: number): Promise<Uint8Array> {
    const page = this.#pages.get(pageNumber);
    if (page !== undefined) return viewOf(page, from, to);
    const bytes = await (this.#loading.get(pageNumber) ?? this.#load(pageNumber));
    const loaded = this.#pages.get(pageNumber);
    if (loaded !== undefined) loaded.readEnd = to;
    return bytes.subarray(from, to);
  }

  /** Whoever comes meanwhile waits for the same. */
  #load(pageNumber: number): Promise<Uint8Array> {
    this.#cache.countMiss();
    const image = this.#image;
    invariant(image !== undefined, 'only an open image is read');
    const loading = image
      .read(pageNumber * CACHE_PAGE_BYTES, CACHE_PAGE_BYTES)
      .then((bytes) => {
        if (this.#users > 0) this.#pages.set(pageNumber, this.#cache.add(this, pageNumber, bytes));
        return bytes;
      })
      .finally(() => this.#loading.delete(pageNumber));
    this.#loading.set(pageNumber, loading);
    return loading;
  }
}

function viewOf(page: Page, from: number, to: number): Uint8Array {
  if (page.readEnd !== from) page.visited = true;
  page.readEnd = to;
  return from === 0 && to === CACHE_PAGE_BYTES ? page.bytes : page.bytes.subarray(from, to);
}

/** One user's hold on a shared image. */
class CachedImage implements OpenImage {
  readonly sizeBytes: number;
  readonly #shared: SharedImage;
  readonly #leave: () => Promise<void>;
  #isClosed = false;

  constructor(shared: SharedImage, sizeBytes: number, leave: () => Promise<void>) {
    this.#shared = shared;
    this.sizeBytes = sizeBytes;
    this.#leave = leave;
  }

  readNow(offsetBytes: number, lengthBytes: number): readonly Uint8Array[] | undefined {
    return this.#shared.readNow(offsetBytes, lengthBytes);
  }

  read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    return this.#shared.read(offsetBytes, lengthBytes);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#leave();
  }
}
