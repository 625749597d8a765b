import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../base/random.ts';
import { nodeFileSystem, openToRead } from '../../../../storage/log/file-system.ts';

const SIZE_BYTES = 300_000;
const content = new SeededRandom(3).bytes(SIZE_BYTES);
let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bootfabric-page-cache-'));
  path = join(directory, 'file');
  await writeFile(path, content);
});

afterEach(() => rm(directory, { recursive: true }));

describe('a file that was just written, read at once', () => {
  it('is what was written wherever it is read, or is refused everywhere', async () => {
    const file = await openToRead(path);
    const random = new SeededRandom(4);
    let isRefused: boolean | undefined;
    for (let i = 0; i < 200; i++) {
      const length = 1 + random.below(70_000);
      const at = random.below(SIZE_BYTES - length);
      // As callers have them: views that begin anywhere.
      const into = Buffer.alloc(length + 100)
        .subarray(random.below(100))
        .subarray(0, length);
      const isFull = file.readNow?.(into, at) ?? false;
      // tmpfs has no such read; ext4, xfs and btrfs do.
      isRefused ??= !isFull;
      expect(isFull).toBe(!isRefused);
      if (isFull) expect(Buffer.compare(into, content.subarray(at, at + length))).toBe(0);
    }
    await file.close();
  });

  it('is not read past its end, and no failure of it is thrown', async () => {
    const file = await nodeFileSystem.open(path);
    expect(file.readNow?.(new Uint8Array(4096), SIZE_BYTES - 100)).toBe(false);
    expect(file.readNow?.(new Uint8Array(4096), SIZE_BYTES + 4096)).toBe(false);
    await file.close();
  });
});
