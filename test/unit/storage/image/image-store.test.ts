import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../../base/errors.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import { ImageStore } from '../../../../storage/image/image-store.ts';
import { CHUNK_BYTES } from '../../../../storage/image/limits.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { systemError } from '../../../support/faulty-disk.ts';
import { addGolden, faultyFileSystem, imageOf, inParts, newStore } from './image-fixture.ts';

const golden = { name: 'golden', version: 1 };

async function failure(promise: Promise<unknown>): Promise<OperationError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OperationError);
  return error as OperationError;
}

describe('importing a raw image', () => {
  it('keeps it byte for byte and reads zeros past its end', async () => {
    const store = await newStore();
    const content = imageOf([1, 0, 2, 3], 512 * 5);
    const seen: number[] = [];
    const made = await store.importRaw('golden', inParts(content), {
      sizeBytes: content.length,
      onProgress: (doneBytes) => seen.push(doneBytes),
    });
    expect(seen).toEqual([CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES, content.length]);
    expect(await store.open(golden)).toBeUndefined();
    await store.commitImport(made.token, 1);
    const image = await store.open(golden);
    expect(image?.sizeBytes).toBe(content.length);
    expect(Buffer.compare((await image?.read(0, content.length)) as Uint8Array, content)).toBe(0);
    const over = await image?.read(content.length - 512, 2048);
    expect(
      Buffer.compare(over as Uint8Array, Buffer.concat([content.subarray(-512), Buffer.alloc(1536)])),
    ).toBe(0);
    expect(await image?.read(content.length + 4096, 512)).toEqual(Buffer.alloc(512));
    await image?.close();
    expect(await store.verify(golden, made.manifestSha256)).toEqual({ outcome: 'sound' });
    expect(await readdir(store.directory.staging)).toEqual([]);
  });

  it('takes no room for chunks of zeros', async () => {
    const store = await newStore();
    await addGolden(store, imageOf([0, 0, 0, 0, 0, 0, 7, 0]));
    const found = await stat(join(store.directory.version(golden), 'image.raw'));
    expect(found.size).toBe(8 * CHUNK_BYTES);
    expect(found.blocks * 512).toBeLessThanOrEqual(2 * CHUNK_BYTES);
  });

  it('names the same content by the same hash, however it arrives', async () => {
    const content = imageOf([1, 0, 5], 1024);
    const hashes = new Set<string>();
    for (const partBytes of [512, 999_999, content.length]) {
      const store = await newStore();
      const made = await store.importRaw('x', inParts(content, partBytes), { sizeBytes: content.length });
      hashes.add(made.manifestSha256);
    }
    expect(hashes.size).toBe(1);
  });

  it.each([0, -512, 511, 1000, 1.5, Number.NaN])(
    'refuses %d bytes, saying what is accepted',
    async (sizeBytes) => {
      const store = await newStore();
      const error = await failure(store.importRaw('golden', inParts(Buffer.alloc(0)), { sizeBytes }));
      expect(error).toMatchObject({ kind: 'invalid', code: 'bad-image-size', got: sizeBytes });
      expect(error.accepted).toContain('multiple of 512');
    },
  );

  it('refuses what is too large and names unfit for a file', async () => {
    const store = await newStore();
    const tooLarge = store.importRaw('golden', inParts(Buffer.alloc(0)), { sizeBytes: 2 ** 50 });
    expect(await failure(tooLarge)).toMatchObject({ kind: 'too-large' });
    for (const name of ['', '../x', '.hidden', 'a/b', 'x'.repeat(65), 'a@b']) {
      const error = await failure(store.importRaw(name, inParts(Buffer.alloc(512)), { sizeBytes: 512 }));
      expect(error).toMatchObject({ kind: 'invalid', code: 'bad-name' });
    }
  });

  it.each([
    [2 * CHUNK_BYTES, 'shorter'],
    [512, 'longer'],
  ])('refuses a stream when %d bytes were announced and it is %s, and leaves nothing', async (sizeBytes) => {
    const store = await newStore();
    const error = await failure(store.importRaw('golden', inParts(imageOf([1])), { sizeBytes }));
    expect(error).toMatchObject({ kind: 'invalid', code: 'wrong-length' });
    expect(await readdir(store.directory.staging)).toEqual([]);
  });

  it('tells of a full disk and leaves nothing', async () => {
    for (const operation of ['write', 'syncData', 'create', 'truncate']) {
      const store = await newStore(
        faultyFileSystem((op) => (op === operation ? systemError('ENOSPC') : undefined)),
      );
      const error = await failure(
        store.importRaw('golden', inParts(imageOf([1, 2])), { sizeBytes: 2 * CHUNK_BYTES }),
      );
      expect(error).toMatchObject({ kind: 'no-space', code: 'disk-full' });
      expect(await readdir(store.directory.staging)).toEqual([]);
    }
  });

  it('leaves a part of the disk to others', async () => {
    const totalBytes = 80 * CHUNK_BYTES;
    const roomFor = (chunks: number) => async () => ({
      freeBytes: totalBytes / 8 + chunks * CHUNK_BYTES,
      totalBytes,
    });
    const content = imageOf([1, 0, 2]);
    const options = { sizeBytes: content.length };
    const tight = await newStore({ ...nodeFileSystem, space: roomFor(0.5) });
    const error = await failure(tight.importRaw('golden', inParts(content), options));
    expect(error).toMatchObject({ kind: 'no-space', code: 'disk-full' });
    expect(await readdir(tight.directory.staging)).toEqual([]);
    const enough = await newStore({ ...nodeFileSystem, space: roomFor(1) });
    await enough.importRaw('golden', inParts(content), options);
  });

  it('leaves nothing when the source breaks or the import is aborted', async () => {
    const store = await newStore();
    async function* breaking(): AsyncGenerator<Uint8Array> {
      yield* inParts(imageOf([1]));
      throw new Error('connection lost');
    }
    const broken = store.importRaw('golden', breaking(), { sizeBytes: 2 * CHUNK_BYTES });
    await expect(broken).rejects.toThrow('connection lost');
    const abort = new AbortController();
    const aborted = store.importRaw('golden', inParts(imageOf([1, 2])), {
      sizeBytes: 2 * CHUNK_BYTES,
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    expect(await failure(aborted)).toMatchObject({ kind: 'unavailable', code: 'import-aborted' });
    expect(await readdir(store.directory.staging)).toEqual([]);
    expect(await readdir(store.directory.images)).toEqual([]);
  });
});

describe('versions', () => {
  it('are never overwritten by other content, and the same content is no error', async () => {
    const store = await newStore();
    await addGolden(store, imageOf([1]));
    await addGolden(store, imageOf([1]));
    expect(await failure(addGolden(store, imageOf([2])))).toMatchObject({ kind: 'conflict' });
    const image = await store.open(golden);
    expect(Buffer.compare((await image?.read(0, CHUNK_BYTES)) as Uint8Array, imageOf([1]))).toBe(0);
    await image?.close();
  });

  it('serve their manifest and chunks, and nothing that is not there', async () => {
    const store = await newStore();
    const content = imageOf([1, 0, 2], 512);
    await addGolden(store, content);
    const [first, last] = [await store.readChunk(golden, 0), await store.readChunk(golden, 2)];
    expect(Buffer.from(first ?? []).equals(content.subarray(0, CHUNK_BYTES))).toBe(true);
    expect(Buffer.from(last ?? []).equals(content.subarray(2 * CHUNK_BYTES))).toBe(true);
    for (const index of [-1, 3]) expect(await store.readChunk(golden, index)).toBeUndefined();
    const other = { name: 'golden', version: 2 };
    expect(await store.manifest(other)).toBeUndefined();
    expect(await store.readChunk(other, 0)).toBeUndefined();
    expect(await store.open(other)).toBeUndefined();
  });

  it('that are damaged are found, chunk by chunk', async () => {
    const store = await newStore();
    const hash = await addGolden(store, imageOf([1, 0, 2, 3]));
    const path = join(store.directory.version(golden), 'image.raw');
    const raw = await readFile(path);
    raw[CHUNK_BYTES + 5] = 1;
    raw[3 * CHUNK_BYTES + 5] = 1;
    await writeFile(path, raw);
    expect(await store.verify(golden, hash)).toEqual({ outcome: 'damaged', chunks: [1, 3] });
    expect(await store.verify(golden, '00'.repeat(32))).toEqual({ outcome: 'damaged', chunks: [] });
    expect(await store.verify({ name: 'golden', version: 9 }, hash)).toEqual({ outcome: 'not-held' });
    await writeFile(path, raw.subarray(0, 1000));
    const image = await store.open(golden);
    await expect(image?.read(2 * CHUNK_BYTES, 512)).rejects.toBeInstanceOf(DeviceError);
    // What is known to be zeros needs no file.
    expect(await image?.read(CHUNK_BYTES, 512)).toEqual(new Uint8Array(512));
    await image?.close();
  });
});

describe('starting', () => {
  it('removes what a crash in the middle of an upload left', async () => {
    const store = await newStore();
    const never = new Promise<never>(() => {});
    async function* stalling(): AsyncGenerator<Uint8Array> {
      yield imageOf([1]);
      await never;
    }
    let reached: () => void = () => {};
    const started = new Promise<void>((resolve) => {
      reached = resolve;
    });
    // Never ends, as when the process is killed in the middle.
    void store.importRaw('golden', stalling(), { sizeBytes: 2 * CHUNK_BYTES, onProgress: () => reached() });
    await started;
    expect(await readdir(store.directory.staging)).toHaveLength(1);
    const after = new ImageStore({ directory: store.directory.root });
    await after.start();
    expect(await readdir(after.directory.staging)).toEqual([]);
  });

  it('keeps a complete upload for one more start, for the cluster may know it', async () => {
    const store = await newStore();
    const content = imageOf([1, 2]);
    const made = await store.importRaw('golden', inParts(content), { sizeBytes: content.length });
    const after = new ImageStore({ directory: store.directory.root });
    await after.start();
    expect(await after.adoptOrphan(golden, '00'.repeat(32))).toBe(false);
    expect(await after.adoptOrphan({ name: 'other', version: 1 }, made.manifestSha256)).toBe(false);
    expect(await after.adoptOrphan(golden, made.manifestSha256)).toBe(true);
    expect(await after.verify(golden, made.manifestSha256)).toEqual({ outcome: 'sound' });

    await after.importRaw('golden', inParts(content), { sizeBytes: content.length });
    const second = new ImageStore({ directory: store.directory.root });
    await second.start();
    expect(await readdir(second.directory.staging)).toHaveLength(1);
    await new ImageStore({ directory: store.directory.root }).start();
    expect(await readdir(second.directory.staging)).toEqual([]);
  });
});
