import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faultyTexts, Gallery } from './gallery.ts';
import { HALLS } from './halls.ts';

const TIMEOUT_MS = 400_000;

describe.each(HALLS)('the simulator of $name', ({ subject, exhibits }) => {
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
