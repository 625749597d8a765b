import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Lab } from '../../../scripts/lab/lab.ts';
import { captures } from '../../../scripts/lab/tcpdump.ts';

/** Frames on the bridge that match a filter, as tcpdump prints them. */
export class Capture {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #listening: Promise<void>;
  readonly #closed: Promise<unknown>;

  constructor(lab: Lab, filter: string) {
    this.#process = lab.spawnOnBridge(
      'tcpdump',
      ['-i', 'br0', '-n', '-l', '-e', '-v', '-A', filter],
      ['ignore', 'pipe', 'pipe'],
    );
    this.#process.stdout
      ?.setEncoding('utf8')
      .on('data', (text: string) => this.lines.push(...text.split('\n')));
    this.#closed = once(this.#process, 'close');
    this.#listening = captures(this.#process);
  }

  async listening(): Promise<void> {
    await this.#listening;
  }

  /** SIGINT lets tcpdump write out what it still holds. May be called again. */
  async stop(): Promise<string> {
    this.#process.kill('SIGINT');
    await this.#closed;
    return this.lines.join('\n');
  }
}
