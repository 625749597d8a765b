#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runNodeProcess } from './node-process.ts';
import { runCli } from './program.ts';
import { supervise } from './supervise.ts';

/** The process around the command line: `bootfabric`. */
const nodeProgram = fileURLToPath(new URL('../../node/main.js', import.meta.url));
const packageFile = new URL('../../../package.json', import.meta.url);

process.exitCode = await runCli(process.argv.slice(2), {
  version: (JSON.parse(readFileSync(packageFile, 'utf8')) as { readonly version: string }).version,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  errIsTerminal: process.stderr.isTTY,
  profileVariable: process.env['BOOTFABRIC_PROFILE'] || undefined,
  homeDirectory: homedir(),
  clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
  sleep: (ms) => sleep(ms),
  runNode: (args) => {
    const run = (): Promise<number> => runNodeProcess(nodeProgram, args);
    if (args[0] !== 'start') return run();
    return supervise({
      run,
      nowMs: () => performance.now(),
      wait: (ms) => sleep(ms),
      say: (text) => process.stderr.write(text),
    });
  },
});
