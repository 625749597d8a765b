import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { LogFullError } from '../../../../base/record-log.ts';
import type { MetaStore } from '../../../../storage/replication/group-meta.ts';
import { META_FULL_RETRY_MS } from '../../../../storage/replication/limits.ts';
import { MetaDirectory } from '../../../../storage/replication/meta-directory.ts';
import { PatientMetaStore } from '../../../../storage/replication/patient-meta-store.ts';
import { describeWhere } from '../../../support/requirements.ts';

class FailingStore implements MetaStore {
  error: Error | undefined;
  saved = 0;

  load(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  save(): Promise<void> {
    if (this.error !== undefined) return Promise.reject(this.error);
    this.saved++;
    return Promise.resolve();
  }
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('saving a meta file on a full disk', () => {
  it('waits until there is space', async () => {
    const clock = new ManualClock();
    const store = new FailingStore();
    store.error = new LogFullError('full');
    const patient = new PatientMetaStore(store, clock, silentLogger);
    const saved = patient.save('g', Buffer.from('x'));
    for (let i = 0; i < 3; i++) {
      await soon();
      clock.advance(META_FULL_RETRY_MS);
    }
    expect(store.saved).toBe(0);
    store.error = undefined;
    await soon();
    clock.advance(META_FULL_RETRY_MS);
    await saved;
    expect(store.saved).toBe(1);
  });

  it('fails at once for any other reason, and when it is stopped', async () => {
    const store = new FailingStore();
    const patient = new PatientMetaStore(store, new ManualClock(), silentLogger);
    store.error = new Error('EIO');
    await expect(patient.save('g', Buffer.from('x'))).rejects.toThrow('EIO');
    store.error = new LogFullError('full');
    const waiting = patient.save('g', Buffer.from('x'));
    await soon();
    patient.stop();
    await expect(waiting).rejects.toThrow(LogFullError);
  });
});

describeWhere(
  { root: true, commands: ['mount', 'umount'], enableWith: 'run the tests as root' },
  'a meta file on a file system that is full',
  () => {
    it('leaves the last one as it was and nothing half-made', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'meta-full-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'bootfabric-test', directory]);
      try {
        const store = new MetaDirectory(directory);
        await store.save('g', Buffer.from('one'));
        await writeFile(join(directory, 'filler'), Buffer.alloc(64 * 1024)).catch(() => {});
        await expect(store.save('g', Buffer.alloc(8192))).rejects.toThrow(LogFullError);
        expect((await readdir(directory)).sort()).toEqual(['filler', 'g.meta']);
        expect(Buffer.from((await store.load('g')) as Uint8Array).toString()).toBe('one');
        await rm(join(directory, 'filler'));
        await store.save('g', Buffer.from('two'));
        expect(Buffer.from((await store.load('g')) as Uint8Array).toString()).toBe('two');
      } finally {
        execFileSync('umount', [directory]);
        await rm(directory, { recursive: true });
      }
    });
  },
);
