import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { type FileSystem, nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { DirectoryLives, readLives } from '../../../../storage/replication/directory-lives.ts';
import { MAX_DIRECTORY_LIVES } from '../../../../storage/replication/limits.ts';

describe('lives of a directory', () => {
  let groupsDirectory: string;
  const random = new SeededRandom(7);
  const open = (fileSystem: FileSystem = nodeFileSystem): DirectoryLives =>
    new DirectoryLives({ fileSystem, groupsDirectory, random });
  const file = (): string => join(groupsDirectory, 'pg1', 'lives');
  const known = (): Promise<string[]> => readLives(nodeFileSystem, join(groupsDirectory, 'pg1'));

  beforeEach(async () => {
    groupsDirectory = await mkdtemp(join(tmpdir(), 'bootfabric-lives-'));
    await mkdir(join(groupsDirectory, 'pg1'));
  });
  afterEach(() => rm(groupsDirectory, { recursive: true, force: true }));

  it('are all known until the cluster has committed the last one', async () => {
    const first = await open().begin('pg1');
    expect(first).toEqual({ life: expect.stringMatching(/^[0-9a-f]{16}$/), former: [] });
    // Two processes die before they hear whether they have registered.
    const second = await open().begin('pg1');
    const third = await open().begin('pg1');
    expect(second?.former).toEqual([first?.life]);
    expect(third?.former).toEqual([first?.life, second?.life]);
    expect(await known()).toEqual([first?.life, second?.life, third?.life]);
    await open().settle('pg1', third?.life ?? '');
    expect(await known()).toEqual([third?.life]);
    expect((await open().begin('pg1'))?.former).toEqual([third?.life]);
  });

  it('are forgotten only in the directory that has that life', async () => {
    const first = await open().begin('pg1');
    const second = await open().begin('pg1');
    await open().settle('pg1', '0123456789abcdef');
    await open().settle('pg1', first?.life ?? '');
    expect(await known()).toEqual([first?.life, second?.life]);
  });

  it('are durable before anybody hears of them', async () => {
    const done: string[] = [];
    const watched: FileSystem = {
      ...nodeFileSystem,
      create: async (path) => {
        const opened = await nodeFileSystem.create(path);
        return {
          sizeBytes: () => opened.sizeBytes(),
          read: (into, at) => opened.read(into, at),
          truncate: (size) => opened.truncate(size),
          write: (parts, at) => opened.write(parts, at).then(() => void done.push('write')),
          syncData: () => opened.syncData().then(() => void done.push('sync')),
          close: () => opened.close(),
        };
      },
      rename: (from, to) => nodeFileSystem.rename(from, to).then(() => void done.push('rename')),
      syncDirectory: (path) =>
        nodeFileSystem.syncDirectory(path).then(() => void done.push('sync directory')),
    };
    await open(watched).begin('pg1');
    expect(done).toEqual(['write', 'sync', 'rename', 'sync directory']);
  });

  it('prove nothing where their file is damaged', async () => {
    await open().begin('pg1');
    for (const text of ['', 'ffff', 'not hexadecimal!\n', (await readFile(file(), 'latin1')).slice(0, -1)]) {
      await writeFile(file(), text);
      expect(await known()).toEqual([]);
    }
    expect((await open().begin('pg1'))?.former).toEqual([]);
  });

  it('are no more than so many, the last of which goes on', async () => {
    for (let n = 0; n < MAX_DIRECTORY_LIVES; n++) await open().begin('pg1');
    const lives = await known();
    expect(lives).toHaveLength(MAX_DIRECTORY_LIVES);
    expect(await open().begin('pg1')).toEqual({ life: lives.at(-1), former: lives.slice(0, -1) });
    expect(await known()).toEqual(lives);
  });

  it('go on where the disk is full, and do not keep the node from starting', async () => {
    const full: FileSystem = {
      ...nodeFileSystem,
      create: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
    };
    expect(await open(full).begin('pg1')).toBeUndefined();
    const first = await open().begin('pg1');
    expect(await open(full).begin('pg1')).toEqual({ life: first?.life, former: [] });
    const second = await open().begin('pg1');
    await open(full).settle('pg1', second?.life ?? '');
    expect(await known()).toEqual([first?.life, second?.life]);
    const failing: FileSystem = {
      ...nodeFileSystem,
      create: () => Promise.reject(Object.assign(new Error('broken'), { code: 'EIO' })),
    };
    await expect(open(failing).begin('pg1')).rejects.toThrow('broken');
    await expect(open(failing).settle('pg1', second?.life ?? '')).rejects.toThrow('broken');
  });

  it('leave nothing else in the directory', async () => {
    await open().begin('pg1');
    await open().begin('pg1');
    expect(await readdir(join(groupsDirectory, 'pg1'))).toEqual(['lives']);
  });
});
