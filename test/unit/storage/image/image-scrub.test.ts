import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { MANIFEST_FILE, RAW_FILE } from '../../../../storage/image/image-directory.ts';
import { ImageMender } from '../../../../storage/image/image-mender.ts';
import { ImageScrub } from '../../../../storage/image/image-scrub.ts';
import type { ImagePart } from '../../../../storage/image/image-source.ts';
import type { ImageStore } from '../../../../storage/image/image-store.ts';
import { CHUNK_BYTES } from '../../../../storage/image/limits.ts';
import { PAGES_FILE } from '../../../../storage/image/page-checksums.ts';
import { addGolden, imageOf, newStore, StoreFetcher } from './image-fixture.ts';

const REF = { name: 'golden', version: 1 };
/** The third chunk is of zeros; the last is short. */
const CONTENT = imageOf([1, 2, 0, 3], 100_352);

interface Held {
  readonly store: ImageStore;
  readonly scrub: ImageScrub;
  /** What it had mended. */
  readonly mended: ImagePart[];
  file(name: string): string;
}

async function held(isElsewhere: boolean): Promise<Held> {
  const store = await newStore();
  const manifestSha256 = await addGolden(store, CONTENT);
  const peer = await newStore();
  await addGolden(peer, CONTENT);
  const fetcher = new StoreFetcher(isElsewhere ? { n2: peer } : {});
  const wanted = () => ({ ...REF, manifestSha256, holders: isElsewhere ? ['n2'] : [] });
  const options = { store, fetcher, wanted, logger: silentLogger, counters: new CounterSet() };
  const mender = new ImageMender(options);
  const mended: ImagePart[] = [];
  const scrub = new ImageScrub({
    image: { ...REF, sizeBytes: CONTENT.length, manifestSha256 },
    store,
    mend: (ref, part) => {
      mended.push(part);
      return mender.mend(ref, part);
    },
    logger: silentLogger,
  });
  return { store, scrub, mended, file: (name) => join(store.directory.version(REF), name) };
}

/** @returns bytes read in each part */
async function pass({ scrub }: Held): Promise<number[]> {
  const read: number[] = [];
  for (let cursor: number | undefined = 0; cursor !== undefined; ) {
    const part: { next: number | undefined; readBytes: number } = await scrub.readPart(cursor);
    cursor = part.next;
    read.push(part.readBytes);
  }
  return read;
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0x08, at);
  await writeFile(path, bytes);
}

describe('an image that is read through', () => {
  it('is read chunk by chunk, but for zeros, and left as it is', async () => {
    const image = await held(true);
    expect(await pass(image)).toEqual([CHUNK_BYTES, CHUNK_BYTES, CONTENT.length - 3 * CHUNK_BYTES, 0]);
    expect(image.mended).toEqual([]);
    expect(image.scrub.fractionAt(2)).toBeCloseTo((2 * CHUNK_BYTES) / CONTENT.length);
  });

  it('has exactly what is damaged in it mended', async () => {
    const image = await held(true);
    const manifest = await readFile(image.file(MANIFEST_FILE));
    await flip(image.file(RAW_FILE), CHUNK_BYTES + 500_000);
    await flip(image.file(MANIFEST_FILE), 30);
    await pass(image);
    expect(image.mended).toEqual(['manifest', 1]);
    expect(Buffer.compare(await readFile(image.file(RAW_FILE)), CONTENT)).toBe(0);
    expect(Buffer.compare(await readFile(image.file(MANIFEST_FILE)), manifest)).toBe(0);
  });

  it('is gone through to its end where nobody has what is damaged', async () => {
    const image = await held(false);
    await flip(image.file(RAW_FILE), 5);
    expect((await pass(image)).length).toBe(4);
    expect(image.mended).toEqual([0]);
  });

  it('gets its checksums of pages again, but not of what is damaged', async () => {
    const image = await held(false);
    const pages = await readFile(image.file(PAGES_FILE));
    await rm(image.file(PAGES_FILE));
    await flip(image.file(RAW_FILE), 5);
    await pass(image);
    await expect(readFile(image.file(PAGES_FILE))).rejects.toMatchObject({ code: 'ENOENT' });
    await flip(image.file(RAW_FILE), 5);
    await pass(image);
    expect(Buffer.compare(await readFile(image.file(PAGES_FILE)), pages)).toBe(0);
  });
});
