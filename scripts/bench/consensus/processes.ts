import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** The processes of one system, each with its output in a file of its own. */
export class Processes {
  readonly #children: (ChildProcess | undefined)[] = [];
  readonly #logFile: (node: number) => string;

  constructor(logFile: (node: number) => string) {
    this.#logFile = logFile;
  }

  get pids(): number[] {
    return this.#children.flatMap((child) => (child?.pid === undefined ? [] : [child.pid]));
  }

  start(node: number, command: string, args: readonly string[]): void {
    const log = openSync(this.#logFile(node), 'a');
    const child = spawn(command, args, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#children[node] = child;
    // A bench that is interrupted leaves nothing behind.
    const end = (): boolean => child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.off('exit', end));
  }

  async kill(node: number, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const child = this.#children[node];
    this.#children[node] = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    const hard = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(hard);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((_, node) => this.kill(node, 'SIGTERM')));
  }

  /** @throws Error with the end of its output when one has ended by itself */
  check(): void {
    for (const [node, child] of this.#children.entries()) {
      if (child === undefined || (child.exitCode === null && child.signalCode === null)) continue;
      const tail = readFileSync(this.#logFile(node), 'utf8').trimEnd().split('\n').slice(-10).join('\n');
      throw new Error(`process ${node} ended with ${child.exitCode ?? child.signalCode}:\n${tail}`);
    }
  }
}

const STOP_TIMEOUT_MS = 5_000;
const READY_TIMEOUT_MS = 30_000;

/** Asks again and again until `condition` holds; a failure of its own counts as "not yet". */
export async function untilTrue(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  let last = '';
  while (performance.now() < deadlineMs) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = `: ${String(error)}`;
    }
    await sleep(20);
  }
  throw new Error(`${what}: not within ${READY_TIMEOUT_MS / 1000} s${last}`);
}

/** Ports that nobody listens at on loopback at this moment. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => {
            const address = server.address();
            resolve(typeof address === 'object' && address !== null ? address.port : 0);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

const TICKS_PER_SECOND = 100;

/** Processor time that the processes have used, user and system. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the name, which may hold anything: state is field 3, utime 14 and stime 15 (proc_pid_stat(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }, 0);
}
