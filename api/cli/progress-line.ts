import type { CliIo } from './cli-io.ts';
import { PROGRESS_INTERVAL_MS } from './limits.ts';

/** One line on standard error that is written over on a terminal; elsewhere only its last state appears. */
export class ProgressLine {
  readonly #io: CliIo;
  readonly #silent: boolean;
  #shownMs = Number.NEGATIVE_INFINITY;
  #shownLength = 0;

  constructor(io: CliIo, silent: boolean) {
    this.#io = io;
    this.#silent = silent;
  }

  /** May leave it out when the last was shown just now. */
  show(text: () => string): void {
    if (this.#silent || !this.#io.errIsTerminal) return;
    const nowMs = this.#io.clock.monotonicMs();
    if (nowMs - this.#shownMs < PROGRESS_INTERVAL_MS) return;
    this.#shownMs = nowMs;
    this.#write(text());
  }

  /** Shows it in any case; what comes next begins on a new line. */
  finish(text: string): void {
    if (this.#silent) return;
    this.#write(text);
    this.#io.err('\n');
    this.#shownLength = 0;
  }

  #write(text: string): void {
    const over = this.#shownLength > 0 ? '\r' : '';
    this.#io.err(over + text.padEnd(this.#shownLength));
    this.#shownLength = text.length;
  }
}
