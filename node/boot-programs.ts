import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A boot program larger than this is something else that lies in the folder. */
const MAX_PROGRAM_BYTES = 16 * 1024 * 1024;
const MAX_CACHED_PROGRAMS = 16;
const PROGRAM_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

interface Cached {
  readonly bytes: Uint8Array;
  /** Of the file it was read from; "" for an uploaded one, which its hash names. */
  readonly modifiedMs: number;
}

/**
 * The boot programs this node can give out: what an administrator uploaded comes first, then the files of the
 * configured folder. Small files, so the last ones used stay in memory: a chassis that is powered on asks for
 * the same one hundreds of times.
 */
export class BootPrograms {
  readonly #folder: string;
  readonly #uploaded: (name: string) => Promise<Uint8Array | undefined>;
  readonly #cache = new Map<string, Cached>();

  constructor(options: { folder: string; uploaded: (name: string) => Promise<Uint8Array | undefined> }) {
    this.#folder = options.folder;
    this.#uploaded = options.uploaded;
  }

  async open(name: string): Promise<Uint8Array | undefined> {
    if (!PROGRAM_NAME.test(name)) return undefined;
    return (await this.#uploaded(name)) ?? (await this.#fromFolder(name));
  }

  /** Whether it is there without having been uploaded. */
  async isInFolder(name: string): Promise<boolean> {
    return PROGRAM_NAME.test(name) && (await this.#fromFolder(name)) !== undefined;
  }

  /** Those of the names that this node has nowhere. */
  async missing(names: readonly string[]): Promise<string[]> {
    const found = await Promise.all(names.map((name) => this.open(name)));
    return names.filter((_, i) => found[i] === undefined);
  }

  async #fromFolder(name: string): Promise<Uint8Array | undefined> {
    const path = join(this.#folder, name);
    try {
      const { size, mtimeMs } = await stat(path);
      if (size > MAX_PROGRAM_BYTES) return undefined;
      const cached = this.#cache.get(name);
      if (cached?.modifiedMs === mtimeMs) return cached.bytes;
      const bytes = await readFile(path);
      if (this.#cache.size >= MAX_CACHED_PROGRAMS) this.#cache.clear();
      this.#cache.set(name, { bytes, modifiedMs: mtimeMs });
      return bytes;
    } catch {
      // Not there, or not readable: either way this node cannot give it out, which status reports.
      return undefined;
    }
  }
}
