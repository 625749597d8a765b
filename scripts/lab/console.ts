import type { ChildProcess } from 'node:child_process';

export interface ConsoleLine {
  readonly text: string;
  /** Of performance.now(), when the line was complete. */
  readonly atMs: number;
}

export interface ConsoleMatch {
  readonly match: RegExpExecArray;
  readonly atMs: number;
}

const TAIL_LINES = 60;
/** Control characters, and what one may introduce: the sequences that move the cursor or choose a colour. */
const TERMINAL_CONTROL = /\p{Cc}(?:\[[0-9;?=]*[A-Za-z]|[()][A-Za-z0-9])?/gu;

/** The serial console of a machine: what it wrote, line by line, each looked at once. */
export class Console {
  readonly lines: ConsoleLine[] = [];
  readonly #process: ChildProcess;
  #partial = '';
  #nextLine = 0;
  #ended: string | undefined;
  #wake: (() => void) | undefined;

  constructor(machine: ChildProcess) {
    this.#process = machine;
    machine.stdout?.setEncoding('latin1').on('data', (text: string) => this.#take(text));
    machine.stderr?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    machine.on('error', (error) => this.#end(error.message));
    machine.on('exit', (code, signal) => this.#end(`machine ended with ${code ?? signal}`));
    // The machine may end while it is being written to; its exit is reported above.
    machine.stdin?.on('error', () => undefined);
  }

  send(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  /**
   * The next line that matches, after the one last returned; lines in between are passed over.
   * @throws Error with the end of the console, after the timeout or when the machine ended
   */
  async waitFor(pattern: RegExp, timeoutMs: number): Promise<ConsoleMatch> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      for (; this.#nextLine < this.lines.length; this.#nextLine++) {
        const line = this.lines[this.#nextLine];
        const match = line === undefined ? null : pattern.exec(line.text);
        if (line === undefined || match === null) continue;
        this.#nextLine++;
        return { match, atMs: line.atMs };
      }
      const leftMs = deadlineMs - performance.now();
      if (this.#ended !== undefined || leftMs <= 0) {
        const why = this.#ended ?? `not seen within ${timeoutMs} ms`;
        throw new Error(`${pattern.source}: ${why}; the console's end:\n${this.tail()}`);
      }
      await this.#change(leftMs);
    }
  }

  tail(): string {
    const lines = this.lines.slice(-TAIL_LINES).map((line) => line.text);
    return [...lines, this.#partial].join('\n');
  }

  #take(text: string): void {
    const pieces = (this.#partial + text).split('\n');
    this.#partial = pieces.pop() ?? '';
    const atMs = performance.now();
    for (const piece of pieces) this.lines.push({ text: piece.replace(TERMINAL_CONTROL, ''), atMs });
    this.#wake?.();
  }

  #end(why: string): void {
    this.#ended = why;
    this.#wake?.();
  }

  async #change(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
