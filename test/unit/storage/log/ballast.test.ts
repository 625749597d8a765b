import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import { Ballast, ballastBytes } from '../../../../storage/log/ballast.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';

const MIB = 1024 ** 2;
const TOTAL_BYTES = 64 * MIB;
const SIZE_BYTES = 2 * MIB;

let directory: string;
let freeBytes: number;
let ballast: Ballast;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ballast-'));
  freeBytes = TOTAL_BYTES;
  const space = () => Promise.resolve({ freeBytes, totalBytes: TOTAL_BYTES });
  ballast = new Ballast({ ...nodeFileSystem, space }, directory, silentLogger);
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

it('takes a part of the disk, and no more than its bound', () => {
  expect(ballastBytes(TOTAL_BYTES)).toBe(SIZE_BYTES);
  expect(ballastBytes(8 * 1024 ** 4)).toBe(32 * MIB);
});

it('is made once, whole, where there is room', async () => {
  freeBytes = 9 * MIB;
  expect(await ballast.makeIfRoom()).toBe(false);
  expect(await readdir(directory)).toEqual([]);
  freeBytes = 10 * MIB;
  expect(await ballast.makeIfRoom()).toBe(true);
  const { size, blocks, mtimeMs } = await stat(join(directory, 'ballast'));
  expect(size).toBe(SIZE_BYTES);
  // No hole: it takes what it says.
  expect(blocks * 512).toBeGreaterThanOrEqual(SIZE_BYTES);
  expect(await ballast.makeIfRoom()).toBe(true);
  expect((await stat(join(directory, 'ballast'))).mtimeMs).toBe(mtimeMs);
});

it('stays while there is room, and is let go of when there is none', async () => {
  await ballast.makeIfRoom();
  freeBytes = SIZE_BYTES;
  await ballast.letGoIfNeeded();
  expect(await readdir(directory)).toEqual(['ballast']);
  freeBytes = SIZE_BYTES - 1;
  await ballast.letGoIfNeeded();
  expect(await readdir(directory)).toEqual([]);
  // Nothing is left to be let go of, and that is no error.
  await ballast.letGoIfNeeded();
});

it('leaves nothing half-made', async () => {
  await writeFile(join(directory, 'ballast.new'), 'half');
  await ballast.letGoIfNeeded();
  expect(await readdir(directory)).toEqual([]);
  const full = { ...nodeFileSystem, space: () => Promise.resolve({ freeBytes, totalBytes: TOTAL_BYTES }) };
  full.create = async (path) => {
    const file = await nodeFileSystem.create(path);
    file.write = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    return file;
  };
  expect(await new Ballast(full, directory, silentLogger).makeIfRoom()).toBe(false);
  expect(await readdir(directory)).toEqual([]);
});

it('takes its room for certain before it has its name', async () => {
  const steps: string[] = [];
  const noting = { ...nodeFileSystem, space: () => Promise.resolve({ freeBytes, totalBytes: TOTAL_BYTES }) };
  noting.create = async (path) => {
    const file = await nodeFileSystem.create(path);
    const syncData = file.syncData.bind(file);
    file.syncData = async () => {
      await syncData();
      steps.push('synced');
    };
    return file;
  };
  noting.rename = async (from, to) => {
    steps.push('renamed');
    await nodeFileSystem.rename(from, to);
  };
  expect(await new Ballast(noting, directory, silentLogger).makeIfRoom()).toBe(true);
  expect(steps).toEqual(['synced', 'renamed']);
});
