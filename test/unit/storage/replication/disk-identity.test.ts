import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { nodeFileSystem } from '../../../../storage/log/file-system.ts';
import { DiskIdentities } from '../../../../storage/replication/disk-identity.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';

function make(seed = 1) {
  const random = new SeededRandom(seed);
  const disk = new FaultyDisk(random);
  const open = (): DiskIdentities =>
    new DiskIdentities({
      fileSystem: disk.mount(),
      groupsDirectory: '/groups',
      random,
      logger: silentLogger,
    });
  return { disk, open };
}

describe('the id of a directory', () => {
  it('is made once, differs from all others, and is known without the cluster', async () => {
    const groupsDirectory = join(await mkdtemp(join(tmpdir(), 'bootfabric-disks-')), 'groups');
    const random = new SeededRandom(1);
    const open = (): DiskIdentities =>
      new DiskIdentities({ fileSystem: nodeFileSystem, groupsDirectory, random, logger: silentLogger });
    try {
      expect(await open().present()).toEqual([]);
      const first = await open().identify('pg1');
      const second = await open().identify('pg2');
      expect(first).toMatch(/^[0-9a-f]{32}$/);
      expect(second).not.toBe(first);
      expect(await open().identify('pg1')).toBe(first);
      await writeFile(join(groupsDirectory, 'pg1.meta'), '');
      expect(await open().present()).toEqual(['pg1', 'pg2']);
    } finally {
      await rm(dirname(groupsDirectory), { recursive: true });
    }
  });

  it('stays through any loss of power once it was told', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { disk, open } = make(seed);
      const id = await open().identify('pg1');
      disk.crash();
      expect(await open().identify('pg1'), `seed ${seed}`).toBe(id);
    }
  });

  it('is another one when the directory was wiped, or the file damaged', async () => {
    const { disk, open } = make();
    const id = await open().identify('pg1');
    await disk.mount().remove('/groups/pg1/disk.id');
    const wiped = await open().identify('pg1');
    expect(wiped).not.toBe(id);
    disk.replace('/groups/pg1/disk.id', Buffer.from('\0\0\0'));
    expect([id, wiped]).not.toContain(await open().identify('pg1'));
  });

  it('is not made up when the directory cannot be read', async () => {
    const { disk, open } = make();
    await open().identify('pg1');
    disk.fault = (operation) => (operation === 'open' ? new Error('EIO: i/o error') : undefined);
    await expect(open().identify('pg1')).rejects.toThrow('EIO');
  });
});
