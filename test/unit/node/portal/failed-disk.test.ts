import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../../base/errors.ts';
import { LogCorruptionError, LogFailure } from '../../../../base/record-log.ts';
import { causeOf } from '../../../../node/portal/fatal-cause.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../../../storage/log/file-system.ts';
import { CheckpointDirectory } from '../../../../storage/replication/checkpoint-store.ts';
import { DamagedCopyError } from '../../../../storage/replication/index.ts';
import { MetaDirectory } from '../../../../storage/replication/meta-directory.ts';
import { systemError } from '../../../support/faulty-disk.ts';
import { LoneGroup } from '../../storage/replication/lone-group.ts';

const KIB = 1024;
const SEGMENT_BYTES = 64 * KIB;
const WRITES = 400;
/** A failure is told of within milliseconds; this is for machines that do other things besides. */
const PATIENCE_MS = 20_000;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'failed-disk-'));
});
afterEach(async () => {
  // What was under way when it failed may still be.
  await rm(directory, { recursive: true, force: true, maxRetries: 20 });
});

/** A call that makes something durable: of a file, or of a directory's entries. */
type FailsAt = (operation: 'syncData' | 'syncDirectory', path: string, lastChange: string) => boolean;

/** The host's file system, of which one such call fails as with a bad disk, and all others do as ever. */
class BadDisk {
  isHit = false;
  /** What was last done to a name. */
  #lastChange = '';
  /** By the name that a file was made under. */
  readonly #names = new Map<string, string>();
  readonly #files = new Set<OpenFile>();
  readonly #failsAt: FailsAt;

  constructor(failsAt: FailsAt) {
    this.#failsAt = failsAt;
  }

  check(operation: 'syncData' | 'syncDirectory', path: string): void {
    if (this.isHit || !this.#failsAt(operation, path, this.#lastChange)) return;
    this.isHit = true;
    throw systemError('EIO');
  }

  get fileSystem(): FileSystem {
    const host = nodeFileSystem;
    return {
      makeDirectory: (path) => host.makeDirectory(path),
      list: (path) => host.list(path),
      removeTree: (path) => host.removeTree(path),
      space: (path) => host.space(path),
      create: async (path) => this.#watched(path, await host.create(path)),
      open: async (path) => this.#watched(path, await host.open(path)),
      rename: async (from, to) => {
        await host.rename(from, to);
        this.#names.set(from, to);
        this.#lastChange = `rename ${basename(to)}`;
      },
      remove: async (path) => {
        await host.remove(path);
        this.#lastChange = `remove ${basename(path)}`;
      },
      syncDirectory: async (path) => {
        this.check('syncDirectory', path);
        await host.syncDirectory(path);
      },
    };
  }

  /** As the end of the process would. */
  async closeAll(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  #watched(path: string, file: OpenFile): OpenFile {
    this.#files.add(file);
    return {
      sizeBytes: () => file.sizeBytes(),
      read: (into, offsetBytes) => file.read(into, offsetBytes),
      write: (parts, offsetBytes) => file.write(parts, offsetBytes),
      truncate: (sizeBytes) => file.truncate(sizeBytes),
      close: async () => {
        this.#files.delete(file);
        await file.close();
      },
      syncData: async () => {
        this.check('syncData', this.#names.get(path) ?? path);
        await file.syncData();
      },
    };
  }
}

const isSegment = (path: string): boolean => path.endsWith('.segment');
const isLog = (path: string): boolean => basename(path) === 'log';

/** Every place at which a copy of a portal group makes something durable. */
const PLACES: readonly (readonly [string, FailsAt])[] = [
  ['data that a client has flushed', (operation, path) => operation === 'syncData' && isSegment(path)],
  ['a new segment', (operation, path) => operation === 'syncData' && path.endsWith('.segment.tmp')],
  [
    'the name of a new segment',
    (operation, path, last) => operation === 'syncDirectory' && isLog(path) && last.startsWith('rename'),
  ],
  [
    'the removal of a segment',
    (operation, path, last) => operation === 'syncDirectory' && isLog(path) && last.startsWith('remove'),
  ],
  [
    'a checkpoint of the index',
    (operation, path) => operation === 'syncData' && basename(path) === 'index.checkpoint.new',
  ],
  [
    'the name of a checkpoint',
    (operation, path, last) =>
      operation === 'syncDirectory' && last === 'rename index.checkpoint' && !isLog(path),
  ],
  ['the meta file', (operation, path) => operation === 'syncData' && basename(path) === 'g.meta'],
];

describe('a copy of a portal group on a disk that fails to make something durable', () => {
  it.each(PLACES)('ends its process for good: %s', { timeout: 60_000 }, async (_, failsAt) => {
    let isArmed = false;
    const disk = new BadDisk((...call) => isArmed && failsAt(...call));
    const meta = new MetaDirectory(directory);
    let failure: unknown;
    let tell: () => void = () => {};
    const failed = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const lone = new LoneGroup({
      directory,
      fileSystem: disk.fileSystem,
      segmentSizeBytes: SEGMENT_BYTES,
      changes: {
        onFatal: (error) => {
          failure ??= error;
          tell();
        },
        trim: { checkMs: 10, growthBytes: 16 * KIB, slackBytes: 0, checkpointBytes: 32 * KIB },
        checkpoints: new CheckpointDirectory(disk.fileSystem, directory, () => Promise.resolve('id')),
        metaDirectory: {
          load: (groupId) => meta.load(groupId),
          save: async (groupId, bytes) => {
            disk.check('syncData', `${groupId}.meta`);
            await meta.save(groupId, bytes);
          },
        },
      },
    });
    const group = await lone.serving();
    await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 4096 });
    const device = group.openDevice(1) as BlockDevice;
    isArmed = true;
    let ended: unknown;
    for (let i = 0; i < WRITES; i++) {
      if (failure !== undefined) break;
      const wrote = device
        .write((i % 8) * 8, [Buffer.alloc(4 * KIB, i)], { forceUnitAccess: false })
        .then(() => (i % 50 === 49 ? device.flush() : undefined));
      ended = await Promise.race([wrote, failed]).catch((error: unknown) => error);
      if (i % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
    expect(disk.isHit).toBe(true);
    expect(failure).toBeDefined();
    expect(causeOf(failure)).toBe('storage');
    // It serves nothing from then on, whatever comes of its process.
    expect(group.isServing()).toBe(false);
    expect(ended === undefined || (ended as { kind?: string }).kind === 'not-serving', String(ended)).toBe(
      true,
    );
    await expect(device.read(0, 8)).rejects.toMatchObject({ kind: 'not-serving' });
    await lone.stop();
    await disk.closeAll();
  });
});

describe('why a data plane ends', () => {
  it('is told: what may pass, what is to be looked at first, and bugs', () => {
    const wrapped = new Error('the log cannot be opened', { cause: systemError('EIO') });
    expect(causeOf(new LogFailure('fdatasync failed'))).toBe('storage');
    for (const code of ['EIO', 'EROFS']) expect(causeOf(systemError(code))).toBe('storage');
    expect(causeOf(wrapped)).toBe('storage');
    // A full disk, and too many open files, pass.
    for (const code of ['ENOSPC', 'EMFILE']) expect(causeOf(systemError(code))).toBe('bug');
    expect(causeOf(new TypeError('x is not a function'))).toBe('bug');
    const damaged = new LogCorruptionError('record 7', { segment: '', offsetBytes: 0 });
    expect(causeOf(new DamagedCopyError('g', damaged))).toBe('start');
    expect(causeOf(new OperationError('no', { kind: 'conflict', code: 'no' }))).toBe('start');
  });
});
