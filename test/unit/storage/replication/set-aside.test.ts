import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import { type FileSystem, nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { DiskIdentities } from '../../../../storage/replication/disk-identity.ts';
import { encodeGroupMeta } from '../../../../storage/replication/group-meta.ts';
import { DamagedCopyError } from '../../../../storage/replication/index.ts';
import { MAX_SET_ASIDE } from '../../../../storage/replication/limits.ts';
import { copiesSetAside, setAsideCopy } from '../../../../storage/replication/set-aside.ts';
import { LoneGroup, type LoneOptions } from './lone-group.ts';

const bare = { random: new SeededRandom(7), logger: silentLogger };

let directory: string;
let ends: unknown[];
let options: LoneOptions;
let nowMs = 1_000;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'set-aside-'));
  ends = [];
  options = {
    directory,
    segmentSizeBytes: 64 * 1024,
    changes: {
      setAside: (groupId, processes) =>
        setAsideCopy({
          fileSystem: nodeFileSystem,
          groupsDirectory: directory,
          groupId,
          wallMs: nowMs++,
          processes,
        }),
      onFatal: (error) => ends.push(error),
    },
  };
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function written(): Promise<LoneGroup> {
  const lone = new LoneGroup(options);
  const group = await lone.serving();
  await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 2048 });
  const device = group.openDevice(1) as BlockDevice;
  for (let i = 0; i < 60; i++) {
    await device.write(i * 8, [Buffer.alloc(4096, i)], { forceUnitAccess: true });
  }
  await lone.stop();
  return lone;
}

/** Starts a process that finds its copy damaged. */
async function startDamaged(lone: LoneGroup): Promise<void> {
  const starting = lone.serving();
  starting.catch(() => {});
  for (let i = 0; i < 500 && ends.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(ends).toHaveLength(1);
  expect(ends[0]).toBeInstanceOf(DamagedCopyError);
  await lone.stop();
}

const entries = async (): Promise<string[]> => (await readdir(directory)).sort();

describe('a damaged copy', () => {
  it.each([
    [
      'by a flipped bit in a record that was durable',
      async () => {
        const folder = join(directory, 'g', 'log');
        const [first = ''] = (await readdir(folder)).filter((name) => name.endsWith('.segment')).sort();
        const bytes = await readFile(join(folder, first));
        bytes[30_000] = (bytes[30_000] as number) ^ 4;
        await writeFile(join(folder, first), bytes);
      },
    ],
    ['by a log that is gone', () => rm(join(directory, 'g', 'log'), { recursive: true })],
    ['by a meta file that is torn', () => writeFile(join(directory, 'g.meta'), '1 00000000\n{}')],
  ])('%s ends one process, and the next begins without it', async (_, damage) => {
    const lone = await written();
    await damage();
    await startDamaged(lone.next());
    const aside = (await entries()).find((name) => /^\.damaged-g-\d+$/.test(name));
    expect(aside).toBeDefined();
    expect(await entries()).not.toContain('g');
    ends.length = 0;
    const fresh = lone.next().next();
    // In this test nobody asks the cluster whether it may serve with nothing.
    expect((await fresh.serving()).luns()).toEqual([]);
    expect(ends).toEqual([]);
    await fresh.stop();
  });

  it('is told of with its id and the epochs it was in use in, while its meta file can be read', async () => {
    await mkdir(join(directory, 'g'));
    const identities = new DiskIdentities({
      fileSystem: nodeFileSystem,
      groupsDirectory: directory,
      ...bare,
    });
    const disk = await identities.identify('g');
    await writeFile(join(directory, 'g', 'lives'), '0123456789abcdef\nfedcba9876543210\n');
    const lives = ['0123456789abcdef', 'fedcba9876543210'];
    const meta = { baseIndex: 1, luns: [], lunsIndex: 1, epochs: [], leaseMs: 800, resetting: false };
    await writeFile(join(directory, 'g.meta'), encodeGroupMeta({ ...meta, epoch: 7 }));
    const setAside = (wallMs: number, processes: string[]): Promise<void> =>
      setAsideCopy({
        fileSystem: nodeFileSystem,
        groupsDirectory: directory,
        groupId: 'g',
        wallMs,
        processes,
      });
    await setAside(5, ['p2', 'p1']);
    expect(await copiesSetAside(nodeFileSystem, directory)).toEqual({
      g: [{ disk, epoch: 7, processes: ['p2', 'p1'], lives }],
    });
    // Put back and damaged once more: what it said before no longer holds.
    const aside = join(directory, '.damaged-g-000000000000005');
    await rename(aside, join(directory, 'g'));
    await writeFile(join(directory, 'g.meta'), '1 00000000\n{}');
    await setAside(6, ['p3']);
    expect(await copiesSetAside(nodeFileSystem, directory)).toEqual({});
    // A note that is damaged says nothing, and neither does one beside an id that is.
    await writeFile(join(directory, '.damaged-g-000000000000006', 'set-aside.note'), '1 0\n{}');
    expect(await copiesSetAside(nodeFileSystem, directory)).toEqual({});
  });

  it('is set aside where there is no room for what is known of it', async () => {
    await mkdir(join(directory, 'g'));
    const groupsDirectory = directory;
    await new DiskIdentities({ fileSystem: nodeFileSystem, groupsDirectory, ...bare }).identify('g');
    const meta = {
      epoch: 7,
      baseIndex: 1,
      luns: [],
      lunsIndex: 1,
      epochs: [],
      leaseMs: 800,
      resetting: false,
    };
    await writeFile(join(directory, 'g.meta'), encodeGroupMeta(meta));
    const full: FileSystem = {
      ...nodeFileSystem,
      create: () => Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' })),
    };
    await setAsideCopy({ fileSystem: full, groupsDirectory, groupId: 'g', wallMs: 5, processes: ['p1'] });
    expect(await entries()).toEqual(['.damaged-g-000000000000005', '.damaged-g-000000000000005.meta']);
    expect(await copiesSetAside(nodeFileSystem, directory)).toEqual({});
  });

  it('is kept in its newest few versions only', async () => {
    for (let i = 0; i < 5; i++) {
      await nodeFileSystem.makeDirectory(join(directory, 'g', 'log'));
      await writeFile(join(directory, 'g.meta'), String(i));
      await nodeFileSystem.makeDirectory(join(directory, '.damaged-g-2-000000000000001'));
      await setAsideCopy({
        fileSystem: nodeFileSystem,
        groupsDirectory: directory,
        groupId: 'g',
        wallMs: 100 + i,
        processes: [],
      });
    }
    const kept = (await entries()).filter((name) => /^\.damaged-g-\d{15}$/.test(name));
    expect(kept).toEqual(['.damaged-g-000000000000103', '.damaged-g-000000000000104'].slice(-MAX_SET_ASIDE));
    expect(await readFile(join(directory, `${kept.at(-1)}.meta`), 'utf8')).toBe('4');
    // Another group's, whose name begins alike, are not touched.
    expect(await entries()).toContain('.damaged-g-2-000000000000001');
  });
});
