import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EXIT_WITHIN_MS } from '../../node/limits.ts';
import { kill, succeed } from '../../scripts/lab/process-run.ts';
import { describeWhere } from '../support/requirements.ts';

const PROCESS_END = pathToFileURL(resolve('dist/node/process-end.js')).href;
const CODE = 70;
const TIMEOUT_MS = 20_000;
/** Beside the time that it is given: for a process to start and end on a machine that is busy. */
const SLACK_MS = 8_000;
/** How a thread comes to be in a call that never returns: nobody writes to that pipe. */
const IN_THE_POOL = `fs.open(pipe, 'r', () => {});`;
const IN_A_WORKER = `
const { Worker } = await import('node:worker_threads');
new Worker("require('fs').openSync(require('worker_threads').workerData, 'r')", { eval: true, execArgv: [], workerData: pipe });
await new Promise((resolve) => setTimeout(resolve, 200));`;

describeWhere(
  { commands: ['mkfifo'], enableWith: 'apt-get install coreutils' },
  'a process that ends while a call never returns',
  () => {
    let directory: string;
    let pipe: string;
    let child: ChildProcess | undefined;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'bootfabric-end-'));
      pipe = join(directory, 'pipe');
      succeed('mkfifo', [pipe]);
    });

    afterEach(async () => {
      if (child !== undefined) await kill(child);
      await rm(directory, { recursive: true });
    });

    it.each([
      ['in the thread pool', IN_THE_POOL],
      ['in another thread', IN_A_WORKER],
    ])('%s has its code all the same', { timeout: TIMEOUT_MS }, async (_, hang) => {
      expect(await endOf(`${hang} endProcess(${CODE})`)).toBe(CODE);
    });

    it('does so when it was told how long that may take, whatever its main thread is at', {
      timeout: TIMEOUT_MS,
    }, async () => {
      expect(await endOf(`endProcessWithin(500, ${CODE}); fs.openSync(pipe, 'r');`)).toBe(CODE);
    });

    it('ends by itself where none does', { timeout: TIMEOUT_MS }, async () => {
      // What process.exit still does, and an end by force does not.
      expect(
        await endOf(`process.on('exit', () => { process.exitCode = ${CODE + 1}; }); endProcess(${CODE})`),
      ).toBe(CODE + 1);
    });

    async function endOf(program: string): Promise<number | null> {
      const loaded = `import fs from 'node:fs'; import { endProcess, endProcessWithin } from '${PROCESS_END}'; const pipe = ${JSON.stringify(pipe)};`;
      child = spawn(process.execPath, ['--input-type=module', '-e', `${loaded} ${program}`], {
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      const late = AbortSignal.timeout(EXIT_WITHIN_MS + SLACK_MS);
      const [code] = (await once(child, 'exit', { signal: late })) as [number | null];
      return code;
    }
  },
);
