import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runNodeProcess } from '../../../../api/cli/node-process.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'bootfabric-child-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function run(source: string, args: readonly string[] = []): Promise<number> {
  const file = join(scratch, 'program.mjs');
  await writeFile(file, source);
  return runNodeProcess(file, args);
}

describe('a child program', () => {
  it('gets its arguments and gives its exit code', async () => {
    expect(await run('process.exit(process.argv[2] === "start" ? 7 : 1)', ['start'])).toBe(7);
  });

  it('ended by a signal gives 128 and its number', async () => {
    expect(await run('process.kill(process.pid, "SIGKILL")')).toBe(137);
  });

  it('gets a SIGTERM that was meant for its parent', async () => {
    const source = `process.on('SIGTERM', () => process.exit(42)); process.kill(process.ppid, 'SIGTERM'); setInterval(() => {}, 1000);`;
    expect(await run(source)).toBe(42);
  });
});
