import { basename, dirname } from 'node:path';
import type { RandomSource } from '../../../../base/random.ts';
import type { FileSystem, OpenFile } from '../../../../storage/log/file-system.ts';

const SECTOR_BYTES = 512;

/**
 * A file system in memory that forgets as a real one may. Each file has what programs see and what is on
 * the disk. crash() makes of each sector written and not synced, independently, either the old or the new
 * one, and of each directory entry not synced likewise; a sector may also be torn within.
 */
export class FaultyFileSystem implements FileSystem {
  /** Bytes that all files together may take. */
  capacityBytes = Number.MAX_SAFE_INTEGER;
  /** Consulted before every operation; what it returns is thrown. */
  fault: (operation: string, path: string) => Error | undefined = () => undefined;
  /** Names of operations, as "write durable.marker". */
  readonly operations: string[] = [];
  readonly #random: RandomSource;
  readonly #directories = new Map<string, Directory>();

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** Loses power: all that was not synced may be lost, in part. Files open before are dead. */
  crash(): void {
    for (const directory of this.#directories.values()) {
      directory.durable = this.#surviving(directory);
      directory.visible = new Map(directory.durable);
    }
    const kept = new Set([...this.#directories.values()].flatMap((d) => [...d.visible.values()]));
    for (const file of kept) file.crash(this.#random);
  }

  /** The process dies and the system lives on: everything written is there. */
  kill(): void {
    for (const file of this.#files()) file.generation++;
  }

  /** Flips a bit of a file, on the disk and in memory. */
  corrupt(path: string, offsetBytes: number): void {
    const file = this.#file(path);
    for (const bytes of [file.visible, file.durable]) bytes[offsetBytes] = (bytes[offsetBytes] ?? 0) ^ 0x10;
  }

  contents(path: string): Uint8Array {
    return this.#file(path).visible.slice();
  }

  /** Replaces what a file holds, durably. */
  replace(path: string, bytes: Uint8Array): void {
    const file = this.#file(path);
    file.visible = bytes.slice();
    file.durable = bytes.slice();
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#begin('makeDirectory', path);
    if (!this.#directories.has(path)) this.#directories.set(path, new Directory());
  }

  async list(directory: string): Promise<string[]> {
    await this.#begin('list', directory);
    return [...this.#directory(directory).visible.keys()];
  }

  async create(path: string): Promise<OpenFile> {
    await this.#begin('create', path);
    const file = new StoredFile();
    this.#directory(dirname(path)).visible.set(basename(path), file);
    return this.#handle(path, file);
  }

  async open(path: string): Promise<OpenFile> {
    await this.#begin('open', path);
    return this.#handle(path, this.#file(path));
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#begin('rename', to);
    const file = this.#file(from);
    this.#directory(dirname(to)).visible.set(basename(to), file);
    this.#directory(dirname(from)).visible.delete(basename(from));
  }

  async remove(path: string): Promise<void> {
    await this.#begin('remove', path);
    this.#file(path);
    this.#directory(dirname(path)).visible.delete(basename(path));
  }

  async removeTree(path: string): Promise<void> {
    await this.#begin('removeTree', path);
    this.#directories.get(dirname(path))?.visible.delete(basename(path));
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#begin('syncDirectory', path);
    const directory = this.#directory(path);
    directory.durable = new Map(directory.visible);
  }

  #handle(path: string, file: StoredFile): OpenFile {
    const generation = file.generation;
    const begin = async (operation: string): Promise<void> => {
      if (file.generation === generation) await this.#begin(operation, path);
      // Whoever held the file is gone with its process: it must never hear of it again.
      if (file.generation !== generation) await new Promise(() => {});
    };
    return {
      async sizeBytes() {
        await begin('sizeBytes');
        return file.visible.length;
      },
      async read(into, offsetBytes) {
        await begin('read');
        const part = file.visible.subarray(offsetBytes, offsetBytes + into.length);
        into.set(part);
        return part.length;
      },
      write: async (parts, offsetBytes) => {
        await begin('write');
        this.#write(file, Buffer.concat(parts), offsetBytes);
      },
      async truncate(sizeBytes) {
        await begin('truncate');
        file.visible = resized(file.visible, sizeBytes);
      },
      async syncData() {
        const seen = file.visible.slice();
        await begin('syncData');
        // What was written during the call may or may not be covered; here it is not.
        file.durable = seen;
      },
      async close() {
        await begin('close');
      },
    };
  }

  #write(file: StoredFile, bytes: Uint8Array, offsetBytes: number): void {
    const used = this.#files().reduce((sum, f) => sum + f.visible.length, 0);
    const grows = Math.max(0, offsetBytes + bytes.length - file.visible.length);
    const room = this.capacityBytes - used;
    const isFull = grows > room;
    const taken = isFull ? bytes.subarray(0, Math.max(0, bytes.length - (grows - room))) : bytes;
    if (taken.length > 0) {
      file.visible = resized(file.visible, Math.max(file.visible.length, offsetBytes + taken.length));
      file.visible.set(taken, offsetBytes);
    }
    if (isFull) throw systemError('ENOSPC');
  }

  #files(): StoredFile[] {
    return [...this.#directories.values()].flatMap((d) => [...d.visible.values()]);
  }

  #surviving(directory: Directory): Map<string, StoredFile> {
    const survivors = new Map<string, StoredFile>();
    const names = new Set([...directory.durable.keys(), ...directory.visible.keys()]);
    for (const name of names) {
      const [before, after] = [directory.durable.get(name), directory.visible.get(name)];
      const chosen = before === after || this.#random.below(2) === 0 ? before : after;
      if (chosen !== undefined) survivors.set(name, chosen);
    }
    return survivors;
  }

  #directory(path: string): Directory {
    const directory = this.#directories.get(path);
    if (directory === undefined) throw systemError('ENOENT');
    return directory;
  }

  #file(path: string): StoredFile {
    const file = this.#directory(dirname(path)).visible.get(basename(path));
    if (file === undefined) throw systemError('ENOENT');
    return file;
  }

  async #begin(operation: string, path: string): Promise<void> {
    this.operations.push(`${operation} ${basename(path)}`);
    await Promise.resolve();
    const error = this.fault(operation, path);
    if (error !== undefined) throw error;
  }
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

class Directory {
  visible = new Map<string, StoredFile>();
  durable = new Map<string, StoredFile>();
}

class StoredFile {
  visible: Uint8Array = new Uint8Array(0);
  durable: Uint8Array = new Uint8Array(0);
  generation = 0;

  crash(random: RandomSource): void {
    const sizes = [this.durable.length, this.visible.length];
    // The size may have got ahead of the data: the bytes between are then zeros.
    const size = sizes[random.below(2)] as number;
    const survivor = resized(this.durable, size);
    for (let at = 0; at < size; at += SECTOR_BYTES) {
      const fresh = this.visible.subarray(at, Math.min(at + SECTOR_BYTES, size));
      const choice = random.below(5);
      if (choice < 2) survivor.set(fresh, at);
      else if (choice === 2) survivor.set(fresh.subarray(0, random.below(fresh.length + 1)), at);
    }
    this.visible = survivor;
    this.durable = survivor.slice();
    this.generation++;
  }
}

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes);
  out.set(bytes.subarray(0, sizeBytes));
  return out;
}
