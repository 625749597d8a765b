import { homedir } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli } from '../../api/cli/program.ts';
import type { DeskAnswer, DeskOrder } from './admin-desk.ts';

/** Reads orders from standard input, a line each, and runs each as the command line would; answers are a line each. */
async function obey({ id, args }: DeskOrder): Promise<DeskAnswer> {
  let stdout = '';
  let stderr = '';
  const status = await runCli(args, {
    version: 'of the lab',
    out: (text) => {
      stdout += text;
    },
    err: (text) => {
      stderr += text;
    },
    errIsTerminal: false,
    profileVariable: undefined,
    homeDirectory: homedir(),
    clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
    sleep: (ms) => sleep(ms),
    runNode: () => Promise.reject(new Error('no node is started from here')),
  });
  return { id, status, stdout, stderr };
}

function answer(report: DeskAnswer): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const order = JSON.parse(line) as DeskOrder;
    obey(order).then(answer, (error: unknown) => {
      answer({ id: order.id, status: 1, stdout: '', stderr: String(error) });
    });
  })
  // Without whoever gives the orders there is nothing to do.
  .on('close', () => process.exit(0));
