import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseServeLunArguments, type ServeLunOptions } from '../../../../node/serve-lun/options.ts';
import { letGo, type PreparedFile, prepareFiles } from '../../../../node/serve-lun/served-files.ts';

function optionsOf(...args: string[]): ServeLunOptions {
  const parsed = parseServeLunArguments(args);
  if (parsed.kind !== 'options') throw new Error(`not understood: ${args.join(' ')}`);
  return parsed.options;
}

describe('the files that are served', () => {
  let directory = '';
  let held: PreparedFile[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'bootfabric-served-'));
  });

  afterEach(async () => {
    for (const file of held) await letGo(file, false);
    held = [];
    rmSync(directory, { recursive: true, force: true });
  });

  /** As another process would: its locks are those of files that it opened itself. */
  async function prepare(...args: string[]): Promise<readonly PreparedFile[]> {
    const prepared = await prepareFiles(optionsOf(...args));
    held.push(...prepared);
    return prepared;
  }

  const at = (...path: string[]): string => join(directory, ...path);

  function makeFile(...path: string[]): string {
    mkdirSync(join(at(...path), '..'), { recursive: true });
    writeFileSync(at(...path), Buffer.alloc(1024));
    return at(...path);
  }

  it('are each given once, by whatever name', async () => {
    const file = makeFile('a.raw');
    symlinkSync(file, at('soft.raw'));
    linkSync(file, at('hard.raw'));
    await expect(prepareFiles(optionsOf(file, file))).rejects.toMatchObject({
      code: 'file-twice',
      message: `${file} is given twice`,
    });
    for (const name of [at('soft.raw'), at('hard.raw')]) {
      await expect(prepareFiles(optionsOf(file, name))).rejects.toMatchObject({
        code: 'file-twice',
        message: `${name} and ${file} are names of the same file, which is given twice`,
      });
    }
    expect(readdirSync(directory).toSorted()).toEqual(['a.raw', 'hard.raw', 'soft.raw']);
  });

  it('keep their writes in directories of their own', async () => {
    const files = [makeFile('x', 'a.raw'), makeFile('y', 'a.raw')] as const;
    const log = at('w');
    await expect(prepareFiles(optionsOf(...files, '--write-log', log))).rejects.toMatchObject({
      code: 'writes-clash',
      message: `writes to ${files[0]} and to ${files[1]} would both be kept in ${join(log, 'a.raw.writes')}, as the files have one name`,
      accepted: expect.stringContaining('no --write-log'),
    });
    expect(readdirSync(directory).toSorted()).toEqual(['x', 'y']);
    mkdirSync(log);
    const discarding = await prepare(...files, '--write-log', log, '--writes', 'discard');
    expect(new Set(discarding.map(({ writes }) => writes.path)).size).toBe(2);
    const beside = await prepare(...files);
    expect(beside.map(({ writes }) => writes.path)).toEqual(files.map((file) => `${file}.writes`));
  });

  it('may be served by several at once, as long as nobody merges', async () => {
    const file = makeFile('a.raw');
    await prepare(file, '--write-log', at('one'));
    await prepare(file, '--write-log', at('two'));
    await prepare(file, '--writes', 'discard');
    await expect(
      prepareFiles(optionsOf(file, '--writes', 'merge', '--write-log', at('three'))),
    ).rejects.toMatchObject({
      kind: 'conflict',
      code: 'file-in-use',
      accepted: expect.stringContaining('keep'),
    });
    expect(readdirSync(directory)).not.toContain('three');
  });

  it('are held alone by whoever merges, until it ends', async () => {
    const file = makeFile('a.raw');
    linkSync(file, at('hard.raw'));
    const [merging] = await prepare(file, '--writes', 'merge');
    for (const args of [[], ['--writes', 'discard'], ['--writes', 'merge', '--write-log', at('two')]]) {
      await expect(prepareFiles(optionsOf(at('hard.raw'), ...args))).rejects.toMatchObject({
        kind: 'conflict',
        code: 'file-in-use',
      });
    }
    expect(readdirSync(directory).toSorted()).toEqual(['a.raw', 'a.raw.writes', 'hard.raw']);
    await letGo(merging as PreparedFile, false);
    await prepare(at('hard.raw'));
  });

  it('are let go of where a later one is refused', async () => {
    const file = makeFile('a.raw');
    const taken = makeFile('b.raw');
    await prepare(taken, '--write-log', at('one'));
    await expect(prepareFiles(optionsOf(file, taken, '--writes', 'merge'))).rejects.toMatchObject({
      code: 'file-in-use',
      got: taken,
    });
    expect(readdirSync(directory).toSorted()).toEqual(['a.raw', 'b.raw', 'one']);
    await prepare(file, '--write-log', at('one'), '--writes', 'merge');
  });
});
