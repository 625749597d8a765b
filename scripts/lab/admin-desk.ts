import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type Finished, kill, systemEnvironment } from './process-run.ts';

const PROGRAM = resolve('dist/scripts/lab/admin-desk-main.js');

export interface DeskOrder {
  readonly id: number;
  readonly args: readonly string[];
}

export interface DeskAnswer extends Finished {
  readonly id: number;
}

type At = (command: string, args: readonly string[]) => [string, string[]];

/**
 * Runs the command line over and over within one process, which stands where an administrator is: starting Node for
 * every question would cost more than what is tested.
 */
export class AdminDesk {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Finished) => void>();
  #orders = 0;
  #end: string | undefined;

  /** @param at the command line that runs a program where the administrator is */
  constructor(at: At) {
    const [program, args] = at(process.execPath, ['--enable-source-maps', PROGRAM]);
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: systemEnvironment() });
    // It may have ended while it is being written to; its exit is reported below.
    this.#child.stdin?.on('error', () => {});
    this.#child.on('error', (error) => this.#ended(error.message));
    this.#child.on('exit', (code, signal) =>
      this.#ended(`the administrator's process ended with ${code ?? signal}`),
    );
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('the administrator is not connected');
    createInterface({ input: stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as DeskAnswer;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  /** Runs one command; resolves however it ended, with status null when not within the time. */
  async run(args: readonly string[], timeoutMs: number): Promise<Finished> {
    if (this.#end !== undefined) return { status: null, stdout: '', stderr: this.#end };
    const id = this.#orders++;
    const answered = new Promise<Finished>((answer) => this.#waiting.set(id, answer));
    const timer = setTimeout(() => {
      this.#waiting.get(id)?.({ status: null, stdout: '', stderr: `no answer within ${timeoutMs} ms` });
      this.#waiting.delete(id);
    }, timeoutMs);
    this.#child.stdin?.write(`${JSON.stringify({ id, args } satisfies DeskOrder)}\n`);
    try {
      return await answered;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    await kill(this.#child);
  }

  #ended(why: string): void {
    this.#end ??= why;
    for (const answer of this.#waiting.values()) answer({ status: null, stdout: '', stderr: why });
    this.#waiting.clear();
  }
}
