import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { BootFileStore } from '../../../../storage/image/boot-file-store.ts';
import { MAX_BOOT_FILE_BYTES } from '../../../../storage/image/limits.ts';
import { systemError } from '../../../support/faulty-disk.ts';
import { faultyFileSystem, temporaryDirectory } from './image-fixture.ts';

describe('BootFileStore', () => {
  it('keeps files by their SHA-256', async () => {
    const directory = await temporaryDirectory();
    const store = new BootFileStore({ directory });
    await store.start();
    const stored = await store.put('undionly.kpxe', Buffer.from('abc'));
    expect(stored).toEqual({
      name: 'undionly.kpxe',
      sizeBytes: 3,
      sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    });
    expect(await store.put('other', Buffer.from('abc'))).toMatchObject({ sha256: stored.sha256 });
    expect(Buffer.from((await store.get(stored.sha256)) ?? []).toString()).toBe('abc');
    expect(await store.get('00'.repeat(32))).toBeUndefined();
    expect(await store.get('../../etc/passwd')).toBeUndefined();
  });

  it('gives out no damaged file, and mends it when it is put again', async () => {
    const directory = await temporaryDirectory();
    const counters = new CounterSet();
    const store = new BootFileStore({ directory, counters });
    await store.start();
    const { sha256 } = await store.put('x', Buffer.from('abc'));
    await writeFile(join(directory, sha256), 'abd');
    expect(await store.get(sha256)).toBeUndefined();
    expect(counters.get('boot-file.damaged')).toBe(1);
    await store.put('x', Buffer.from('abc'));
    expect(await store.get(sha256)).toBeDefined();
  });

  it('refuses bad names and too much, and leaves nothing on a full disk', async () => {
    const directory = await temporaryDirectory();
    const fileSystem = faultyFileSystem((op) => (op === 'write' ? systemError('ENOSPC') : undefined));
    const store = new BootFileStore({ directory, fileSystem });
    await store.start();
    await expect(store.put('../x', Buffer.alloc(1))).rejects.toMatchObject({ kind: 'invalid' });
    const large = store.put('x', Buffer.alloc(MAX_BOOT_FILE_BYTES + 1));
    await expect(large).rejects.toMatchObject({ kind: 'too-large' });
    await expect(store.put('x', Buffer.alloc(1))).rejects.toMatchObject({ kind: 'no-space' });
    expect(await readdir(directory)).toEqual([]);
  });

  it('removes at start what a crash left', async () => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, 'half.tmp'), 'x');
    await new BootFileStore({ directory }).start();
    expect(await readdir(directory)).toEqual([]);
  });
});
