import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that end is. */
export function finish(command: string, args: readonly string[], timeoutMs = 60_000): Finished {
  const result = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT_BYTES,
    timeout: timeoutMs,
    env: systemEnvironment(),
  });
  if (result.error !== undefined) throw new Error(`${command} ${args.join(' ')}: ${result.error.message}`);
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Runs a program that must succeed and returns its output. */
export function succeed(command: string, args: readonly string[], timeoutMs = 60_000): string {
  const { status, stdout, stderr } = finish(command, args, timeoutMs);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed (${status}): ${stderr}${stdout}`);
  return stdout;
}

/** The same, without holding up the process that waits: for a program that talks to this very process. */
export async function finishAsync(
  command: string,
  args: readonly string[],
  timeoutMs = 60_000,
): Promise<Finished> {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    env: systemEnvironment(),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

/** Ends a process this test started and waits until it is gone. */
export async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

/** Debian keeps what only root would use apart from an ordinary user's PATH. */
export function systemEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
}
