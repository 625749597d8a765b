import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXHIBITS } from './exhibits.ts';
import { Gallery } from './gallery.ts';

const TIMEOUT_MS = 240_000;
let folder: string;
let gallery: Gallery;
/** Those by which faults were found. */
const finders = new Set<number>();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bootfabric-museum-'));
  gallery = new Gallery(folder);
}, TIMEOUT_MS);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the simulator finds', () => {
  it.each(EXHIBITS)('$name', { timeout: TIMEOUT_MS }, async (exhibit) => {
    const { seed } = await gallery.visit(exhibit);
    expect(seed, `within ${exhibit.seeds} seeds`).toBeDefined();
    if (seed !== undefined) finders.add(seed);
  });
});

describe('without a fault', () => {
  it('the same seeds pass', { timeout: TIMEOUT_MS }, async () => {
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
    expect(() => gallery.visit(gone)).toThrow('0 times, not once');
  });
});
