import { mkdtemp, open, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isNoSpace, namingFile, nodeFileSystem } from '../../../../storage/log/file-system.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'file-names-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

describe('what has failed of a file that is open', () => {
  it('says which, where it cannot be made durable', async () => {
    const file = await nodeFileSystem.open('/dev/null');
    await expect(file.syncData()).rejects.toThrow("fdatasync '/dev/null'");
    await file.close();
  });

  it('says which, where it cannot be written, and goes on being what it was', async () => {
    const file = await nodeFileSystem.open('/dev/full');
    const failed = await file.write([Buffer.alloc(512)], 0).catch((error: unknown) => error);
    expect(String(failed)).toContain("'/dev/full'");
    expect(isNoSpace(failed)).toBe(true);
    await file.close();
  });

  it('says which directory', async () => {
    await expect(nodeFileSystem.syncDirectory('/proc')).rejects.toThrow("fsync '/proc'");
  });

  it('says what it is called now, and says it once', async () => {
    const handle = await open(join(directory, 'segment.new'), 'w');
    await rename(join(directory, 'segment.new'), join(directory, 'segment'));
    const error = namingFile(namingFile(new Error('EIO: i/o error, fsync'), handle.fd), handle.fd);
    expect(String(error)).toBe(`Error: EIO: i/o error, fsync '${join(directory, 'segment')}'`);
    await handle.close();
    expect(namingFile(error, handle.fd)).toBe(error);
  });
});
