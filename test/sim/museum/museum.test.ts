import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CLUSTER_EXHIBITS,
  DOUBLE_FAILURE_EXHIBITS,
  FABRIC_EXHIBITS,
  FAILING_DISK_EXHIBITS,
  HUNG_PRIMARY_EXHIBITS,
  LATE_READ_EXHIBITS,
  LESSER_COPY_EXHIBITS,
  OLD_COPY_EXHIBITS,
  REPLICATION_EXHIBITS,
  REUSE_EXHIBITS,
  SLOW_MEMBER_EXHIBITS,
  UNIT_EXHIBITS,
} from './exhibits.ts';
import {
  CLUSTER,
  DOUBLE_FAILURES,
  FABRIC,
  FAILING_DISKS,
  faultyTexts,
  Gallery,
  HUNG_PRIMARIES,
  LATE_READS,
  LESSER_COPIES,
  LOG_LIVES,
  OLD_COPIES,
  REPLICATION,
  SLOW_MEMBERS,
  UNITS,
} from './gallery.ts';

const TIMEOUT_MS = 400_000;

describe.each([
  ['the cluster log', CLUSTER, CLUSTER_EXHIBITS],
  ['replication', REPLICATION, REPLICATION_EXHIBITS],
  ['shared units', UNITS, UNIT_EXHIBITS],
  ['failing disks', FAILING_DISKS, FAILING_DISK_EXHIBITS],
  ['hung primaries', HUNG_PRIMARIES, HUNG_PRIMARY_EXHIBITS],
  ['late reads', LATE_READS, LATE_READ_EXHIBITS],
  ['lesser copies', LESSER_COPIES, LESSER_COPY_EXHIBITS],
  ['slow members', SLOW_MEMBERS, SLOW_MEMBER_EXHIBITS],
  ["a log's lives", LOG_LIVES, REUSE_EXHIBITS],
  ['whole nodes', FABRIC, FABRIC_EXHIBITS],
  ['double failures', DOUBLE_FAILURES, DOUBLE_FAILURE_EXHIBITS],
  ['old copies', OLD_COPIES, OLD_COPY_EXHIBITS],
])('the simulator of %s', (_name, subject, exhibits) => {
  let folder: string;
  let gallery: Gallery;
  /** Seeds by which faults were found. */
  const finders = new Set<number>();

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bootfabric-museum-'));
    gallery = new Gallery(folder, subject);
  }, TIMEOUT_MS);

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(exhibits)('finds $name', { timeout: TIMEOUT_MS }, async (exhibit) => {
    const { seed, violation } = await gallery.visit(exhibit);
    expect(seed, `within ${exhibit.seeds} seeds`).toBeDefined();
    expect(violation).not.toBe('');
    if (seed !== undefined) finders.add(seed);
  });

  it('finds nothing by the same seeds in a copy without a fault', { timeout: TIMEOUT_MS }, async () => {
    expect(finders.size).toBeGreaterThan(0);
    for (const seed of finders) {
      expect(await gallery.visitSound(seed, 1)).toEqual({ seed: undefined, violation: undefined, seeds: 1 });
    }
  });
});

describe('a fault that fits no more', () => {
  it('is not passed over', () => {
    const edits = [{ file: 'base/crc32c.ts', sound: 'no such line', faulty: '' }];
    const gone = { name: 'gone', story: '', edits, seeds: 1 };
    expect(() => faultyTexts(gone)).toThrow('0 times, not once');
  });
});
