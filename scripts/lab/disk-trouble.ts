import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kill, systemEnvironment } from './process-run.ts';

/** What strace(1) does to system calls of a process that has a disk, as long as it is attached. */
export interface Trouble {
  readonly calls: readonly string[];
  /** As strace's option -e inject spells it: "error=EIO", "delay_enter=600000" (microseconds). */
  readonly inject: string;
  /** Calls for these files and directories alone, as they are now; absent: for any. */
  readonly only?: readonly string[];
}

/** The calls by which a node makes something durable. */
export const SYNC_CALLS: readonly string[] = ['fsync', 'fdatasync'];
/** The calls by which a node writes to files. */
export const WRITE_CALLS: readonly string[] = ['pwrite64', 'pwritev', 'pwritev2'];

const ATTACHED = / attached/;
const LOOK_MS = 50;
/** Of /proc/PID/stat: its first thread has ended. */
const ZOMBIE = /\) Z /;

/** A process that is in trouble with its disk. */
export class DiskTrouble {
  readonly #tracer: ChildProcess;
  readonly #processId: number;
  /** Resolves once there is nothing in trouble any more: the process has ended, or end() was called. */
  readonly over: Promise<void>;

  private constructor(tracer: ChildProcess, processId: number) {
    this.#tracer = tracer;
    this.#processId = processId;
    this.over = new Promise((resolve) => tracer.once('exit', () => resolve()));
  }

  /**
   * Resolves once every such call of every thread of the process is met.
   * @throws Error with what strace says when it cannot be attached
   */
  static async of(processId: number, { calls, inject, only = [] }: Trouble): Promise<DiskTrouble> {
    const list = calls.join(',');
    const paths = only.flatMap((path) => ['-P', path]);
    const what = ['-e', `trace=${list}`, '-e', `inject=${list}:${inject}`, ...paths];
    const args = ['-f', '-e', 'signal=none', '-o', '/dev/null', ...what, '-p', String(processId)];
    const tracer = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'], env: systemEnvironment() });
    const trouble = new DiskTrouble(tracer, processId);
    await new Promise<void>((resolve, reject) => {
      let said = '';
      tracer.stderr?.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (ATTACHED.test(said)) resolve();
      });
      tracer.once('error', reject);
      tracer.once('exit', (code) => reject(new Error(`strace ended with ${code}: ${said}`)));
    });
    return trouble;
  }

  /** The process goes on as it would without; nothing happens where it has ended, or this has. */
  async end(): Promise<void> {
    await kill(this.#tracer, isDying(this.#processId) ? 'SIGKILL' : 'SIGINT');
  }

  /**
   * Lets go of the process once it has been killed: strace keeps a thread that it delays from ending, and with it all that the
   * process has open, which no disk does from which the kernel lets a killed process go.
   */
  async endOnceKilled(withinMs: number): Promise<void> {
    const deadlineMs = performance.now() + withinMs;
    while (!isDying(this.#processId)) {
      if (performance.now() > deadlineMs) throw new Error(`process ${this.#processId} is not killed`);
      await sleep(LOOK_MS);
    }
    await this.end();
  }
}

/** A directory and all that is below it at the moment, as a trouble may be confined to. */
export function allBelow(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return [directory, ...names.map((name) => join(directory, name))];
}

/** Whether it has been killed, though threads of it may be held up yet. */
function isDying(processId: number): boolean {
  try {
    return ZOMBIE.test(readFileSync(`/proc/${processId}/stat`, 'latin1'));
  } catch {
    return true;
  }
}
