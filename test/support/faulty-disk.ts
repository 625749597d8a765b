import { basename, dirname } from 'node:path';
import type { RandomSource } from '../../base/random.ts';
import type { FileSystem, OpenFile } from '../../storage/log/file-system.ts';

const SECTOR_BYTES = 512;

/** Waits as long as a part of an operation takes; a process that is gone waits for ever. */
export type Pace = (operation: string, path: string) => Promise<void>;

/** What a loss of power did to what had not been synced. */
export interface CrashCounts {
  sectorsKept: number;
  sectorsDropped: number;
  sectorsTorn: number;
  entriesKept: number;
  entriesLost: number;
}

/**
 * A disk in memory that forgets as a real one may; mount() is how one life of a program sees it. Each file has
 * what programs see and what is on the disk. crash() makes of each sector written and not synced,
 * independently, either the old or the new one, and of each directory entry not synced likewise; a sector may
 * also be torn within.
 */
export class FaultyDisk {
  /** Bytes that all files together may take. */
  capacityBytes = Number.MAX_SAFE_INTEGER;
  /** Consulted before every operation; what it returns is thrown. */
  fault: (operation: string, path: string) => Error | undefined = () => undefined;
  /** Whether there is a way to write before the call returns. */
  mayWriteNow = true;
  /** Names of operations, as "write durable.marker". */
  readonly operations: string[] = [];
  readonly crashCounts: CrashCounts = {
    sectorsKept: 0,
    sectorsDropped: 0,
    sectorsTorn: 0,
    entriesKept: 0,
    entriesLost: 0,
  };
  readonly #random: RandomSource;
  #life = 0;
  readonly #directories = new Map<string, Directory>();

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /**
   * For one life of a program: after a crash or a kill, no call of it ever returns or does anything.
   * @param pace awaited twice for each operation, before it takes effect and before it returns
   */
  mount(pace?: Pace): FileSystem {
    return new Mount(this, this.#life, pace);
  }

  /** Loses power: all that was not synced may be lost, in part. */
  crash(): void {
    for (const directory of this.#directories.values()) {
      directory.durable = this.#surviving(directory);
      directory.visible = new Map(directory.durable);
    }
    const kept = new Set([...this.#directories.values()].flatMap((d) => [...d.visible.values()]));
    for (const file of kept) file.crash(this.#random, this.crashCounts);
    this.#life++;
  }

  /** The process dies and the system lives on: everything written is there. */
  kill(): void {
    this.#life++;
  }

  /** Flips a bit of a file, on the disk and in memory. */
  corrupt(path: string, offsetBytes: number): void {
    const file = this.file(path);
    for (const bytes of [file.visible, file.durable]) bytes[offsetBytes] = (bytes[offsetBytes] ?? 0) ^ 0x10;
  }

  get usedBytes(): number {
    return this.#files().reduce((sum, file) => sum + file.visible.length, 0);
  }

  contents(path: string): Uint8Array {
    return this.file(path).visible.slice();
  }

  /** Replaces what a file holds, durably. */
  replace(path: string, bytes: Uint8Array): void {
    const file = this.file(path);
    file.visible = bytes.slice();
    file.durable = bytes.slice();
  }

  makeDirectory(path: string): void {
    if (!this.#directories.has(path)) this.#directories.set(path, new Directory());
  }

  list(directory: string): string[] {
    return [...this.#directory(directory).visible.keys()];
  }

  create(path: string): StoredFile {
    const file = new StoredFile();
    this.#directory(dirname(path)).visible.set(basename(path), file);
    return file;
  }

  rename(from: string, to: string): void {
    const file = this.file(from);
    this.#directory(dirname(to)).visible.set(basename(to), file);
    this.#directory(dirname(from)).visible.delete(basename(from));
  }

  remove(path: string): void {
    this.file(path);
    this.#directory(dirname(path)).visible.delete(basename(path));
  }

  removeTree(path: string): void {
    this.#directories.get(dirname(path))?.visible.delete(basename(path));
  }

  syncDirectory(path: string): void {
    const directory = this.#directory(path);
    directory.durable = new Map(directory.visible);
  }

  file(path: string): StoredFile {
    const file = this.#directory(dirname(path)).visible.get(basename(path));
    if (file === undefined) throw systemError('ENOENT');
    return file;
  }

  async enter(life: number, operation: string, path: string, pace: Pace | undefined): Promise<void> {
    if (life === this.#life) {
      if (pace === undefined) this.operations.push(`${operation} ${basename(path)}`);
      await (pace === undefined ? Promise.resolve() : pace(operation, path));
    }
    if (life !== this.#life) await new Promise(() => {});
    const error = this.fault(operation, path);
    if (error !== undefined) throw error;
  }

  /** For what is done before it returns. @returns false when that life is over, and nothing is to be done */
  enterNow(life: number, operation: string, path: string): boolean {
    if (life !== this.#life) return false;
    this.operations.push(`${operation} ${basename(path)}`);
    const error = this.fault(operation, path);
    if (error !== undefined) throw error;
    return true;
  }

  async leave(life: number, operation: string, path: string, pace: Pace | undefined): Promise<void> {
    if (pace === undefined) return;
    if (life === this.#life) await pace(operation, path);
    if (life !== this.#life) await new Promise(() => {});
  }

  write(file: StoredFile, bytes: Uint8Array, offsetBytes: number): void {
    const grows = Math.max(0, offsetBytes + bytes.length - file.visible.length);
    const room = this.capacityBytes - this.usedBytes;
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
      if (before !== after) this.crashCounts[chosen === after ? 'entriesKept' : 'entriesLost']++;
      if (chosen !== undefined) survivors.set(name, chosen);
    }
    return survivors;
  }

  #directory(path: string): Directory {
    const directory = this.#directories.get(path);
    if (directory === undefined) throw systemError('ENOENT');
    return directory;
  }
}

class Mount implements FileSystem {
  readonly #disk: FaultyDisk;
  readonly #life: number;
  readonly #pace: Pace | undefined;

  constructor(disk: FaultyDisk, life: number, pace: Pace | undefined) {
    this.#disk = disk;
    this.#life = life;
    this.#pace = pace;
  }

  async #operate<T>(operation: string, path: string, carryOut: () => T): Promise<T> {
    await this.#disk.enter(this.#life, operation, path, this.#pace);
    const result = carryOut();
    if (this.#pace !== undefined) await this.#disk.leave(this.#life, operation, path, this.#pace);
    return result;
  }

  makeDirectory(path: string): Promise<void> {
    return this.#operate('makeDirectory', path, () => this.#disk.makeDirectory(path));
  }

  list(directory: string): Promise<string[]> {
    return this.#operate('list', directory, () => this.#disk.list(directory));
  }

  create(path: string): Promise<OpenFile> {
    return this.#operate('create', path, () => this.#handle(path, this.#disk.create(path)));
  }

  open(path: string): Promise<OpenFile> {
    return this.#operate('open', path, () => this.#handle(path, this.#disk.file(path)));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#operate('rename', to, () => this.#disk.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#operate('remove', path, () => this.#disk.remove(path));
  }

  removeTree(path: string): Promise<void> {
    return this.#operate('removeTree', path, () => this.#disk.removeTree(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#operate('syncDirectory', path, () => this.#disk.syncDirectory(path));
  }

  space(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
    const space = { freeBytes: Number.MAX_SAFE_INTEGER, totalBytes: Number.MAX_SAFE_INTEGER };
    return this.#operate('space', path, () => space);
  }

  #handle(path: string, file: StoredFile): OpenFile {
    const operate = <T>(operation: string, carryOut: () => T): Promise<T> =>
      this.#operate(operation, path, carryOut);
    return {
      sizeBytes: () => operate('sizeBytes', () => file.visible.length),
      read: (into, offsetBytes) =>
        operate('read', () => {
          const part = file.visible.subarray(offsetBytes, offsetBytes + into.length);
          into.set(part);
          return part.length;
        }),
      write: (parts, offsetBytes) =>
        operate('write', () => this.#disk.write(file, Buffer.concat(parts), offsetBytes)),
      // Where operations take time, none is done at once.
      ...(this.#pace === undefined && {
        writeNow: (parts: readonly Uint8Array[], offsetBytes: number): boolean => {
          if (!this.#disk.mayWriteNow || !this.#disk.enterNow(this.#life, 'writeNow', path)) return false;
          this.#disk.write(file, Buffer.concat(parts), offsetBytes);
          return true;
        },
      }),
      truncate: (sizeBytes) =>
        operate('truncate', () => {
          file.visible = resized(file.visible, sizeBytes);
        }),
      syncData: () => {
        // What is written during the call may or may not be covered; here it is not.
        const seen = file.visible.slice();
        return operate('syncData', () => {
          file.durable = seen;
        });
      },
      close: () => operate('close', () => {}),
    };
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

  crash(random: RandomSource, counts: CrashCounts): void {
    const sizes = [this.durable.length, this.visible.length];
    // The size may have got ahead of the data: the bytes between are then zeros.
    const size = sizes[random.below(2)] as number;
    const survivor = resized(this.durable, size);
    for (let at = 0; at < size; at += SECTOR_BYTES) {
      const fresh = this.visible.subarray(at, Math.min(at + SECTOR_BYTES, size));
      const choice = random.below(5);
      if (choice < 2) survivor.set(fresh, at);
      else if (choice === 2) survivor.set(fresh.subarray(0, random.below(fresh.length + 1)), at);
      const isNew = Buffer.compare(fresh, this.durable.subarray(at, at + SECTOR_BYTES)) !== 0;
      if (isNew) counts[choice < 2 ? 'sectorsKept' : choice === 2 ? 'sectorsTorn' : 'sectorsDropped']++;
    }
    this.visible = survivor;
    this.durable = survivor.slice();
  }
}

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes);
  out.set(bytes.subarray(0, sizeBytes));
  return out;
}
