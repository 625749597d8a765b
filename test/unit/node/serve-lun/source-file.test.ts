import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileSize } from '../../../../api/cli/local-file.ts';
import { findSource } from '../../../../node/serve-lun/source-file.ts';

const MAX_BYTES = 1024 * 1024;

describe('a file to be served or uploaded', () => {
  let directory = '';

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'bootfabric-source-'));
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const pathOf = (name: string, lengthBytes: number): string => {
    const path = join(directory, name);
    writeFileSync(path, Buffer.alloc(lengthBytes));
    return path;
  };

  it('is found with its size', async () => {
    const path = pathOf('disk.raw', 1024);
    expect(await findSource(path)).toMatchObject({ path, sizeBytes: 1024 });
    expect(await fileSize(path, MAX_BYTES, 512)).toBe(1024);
  });

  it('is no named pipe, which would have to be waited for', async () => {
    const path = join(directory, 'pipe');
    execFileSync('mkfifo', [path]);
    const refusal = { code: 'bad-file', message: `${path} is not a regular file` };
    await expect(findSource(path)).rejects.toMatchObject(refusal);
    await expect(fileSize(path, MAX_BYTES)).rejects.toMatchObject(refusal);
  });

  it.each([
    ['a directory', ''],
    ['what is not there', 'missing.raw'],
  ])('is not %s', async (_, name) => {
    const path = join(directory, name);
    await expect(findSource(path)).rejects.toMatchObject({ code: 'bad-file', kind: 'invalid' });
    await expect(fileSize(path, MAX_BYTES)).rejects.toMatchObject({ code: 'bad-file', kind: 'invalid' });
  });

  it.each([0, 100, 513])('cannot be a disk of %i bytes', async (lengthBytes) => {
    const path = pathOf('disk.raw', lengthBytes);
    await expect(findSource(path)).rejects.toMatchObject({ code: 'bad-file', got: lengthBytes });
    await expect(fileSize(path, MAX_BYTES, 512)).rejects.toMatchObject({ code: 'bad-file' });
  });
});
