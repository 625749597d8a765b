import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ContentFetcher } from '../../../../storage/image/content-fetcher.ts';
import { ImageStore } from '../../../../storage/image/image-store.ts';
import { CHUNK_BYTES } from '../../../../storage/image/limits.ts';
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../../../storage/log/file-system.ts';

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'image-store-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function newStore(fileSystem: FileSystem = nodeFileSystem): Promise<ImageStore> {
  const store = new ImageStore({ directory: await temporaryDirectory(), fileSystem });
  await store.start();
  return store;
}

/** The host's file system, with `fault` consulted before each operation. */
export function faultyFileSystem(fault: (operation: string, path: string) => Error | undefined): FileSystem {
  const check = (operation: string, path: string): void => {
    const error = fault(operation, path);
    if (error !== undefined) throw error;
  };
  const wrap = (path: string, file: OpenFile): OpenFile => ({
    sizeBytes: () => file.sizeBytes(),
    async read(into, offsetBytes) {
      check('read', path);
      return file.read(into, offsetBytes);
    },
    async write(parts, offsetBytes) {
      check('write', path);
      await file.write(parts, offsetBytes);
    },
    async truncate(sizeBytes) {
      check('truncate', path);
      await file.truncate(sizeBytes);
    },
    async syncData() {
      check('syncData', path);
      await file.syncData();
    },
    close: () => file.close(),
  });
  return {
    ...nodeFileSystem,
    async create(path) {
      check('create', path);
      return wrap(path, await nodeFileSystem.create(path));
    },
    open: async (path) => wrap(path, await nodeFileSystem.open(path)),
    async rename(from, to) {
      check('rename', to);
      await nodeFileSystem.rename(from, to);
    },
  };
}

/** `chunks` describes each: 0 for one of zeros, any other number for bytes made from it. */
export function imageOf(chunks: readonly number[], lastBytes = CHUNK_BYTES): Buffer {
  const parts = chunks.map((seed, i) => {
    const part = Buffer.alloc(i === chunks.length - 1 ? lastBytes : CHUNK_BYTES, seed);
    if (seed !== 0) part.writeUInt32BE(i + 1, 8);
    return part;
  });
  return Buffer.concat(parts);
}

export async function* inParts(content: Uint8Array, partBytes = 300_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += partBytes) {
    await Promise.resolve();
    yield content.subarray(at, at + partBytes);
  }
}

/** Imports and commits as version 1 of "golden". */
export async function addGolden(store: ImageStore, content: Uint8Array): Promise<string> {
  const made = await store.importRaw('golden', inParts(content), { sizeBytes: content.length });
  await store.commitImport(made.token, 1);
  return made.manifestSha256;
}

/** Other nodes' stores as the network would show them. */
export class StoreFetcher implements ContentFetcher {
  readonly asked: string[] = [];
  /** May replace or refuse what a node sends. */
  tamper: (from: string, what: string, bytes: Uint8Array) => Uint8Array = (_, __, bytes) => bytes;
  readonly #stores: ReadonlyMap<string, ImageStore>;
  readonly #bootFiles: ReadonlyMap<string, Uint8Array>;

  constructor(stores: Record<string, ImageStore>, bootFiles: Record<string, Uint8Array> = {}) {
    this.#stores = new Map(Object.entries(stores));
    this.#bootFiles = new Map(Object.entries(bootFiles));
  }

  manifest(from: string, ref: { name: string; version: number }): Promise<Uint8Array> {
    return this.#answer(from, 'manifest', this.#stores.get(from)?.manifest(ref));
  }

  chunk(from: string, ref: { name: string; version: number }, index: number): Promise<Uint8Array> {
    return this.#answer(from, `chunk ${index}`, this.#stores.get(from)?.readChunk(ref, index));
  }

  bootFile(from: string, name: string): Promise<Uint8Array> {
    return this.#answer(from, name, Promise.resolve(this.#bootFiles.get(from)));
  }

  async #answer(
    from: string,
    what: string,
    getting: Promise<Uint8Array | undefined> | undefined,
  ): Promise<Uint8Array> {
    this.asked.push(`${from} ${what}`);
    const bytes = await getting;
    if (bytes === undefined) throw new Error(`${from} does not hold ${what}`);
    return this.tamper(from, what, bytes);
  }
}
