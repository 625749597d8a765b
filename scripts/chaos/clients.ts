import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { kill } from '../lab/process-run.ts';
import {
  type ClientsOrder,
  type ClientsReport,
  NO_PROGRESS,
  type Progress,
  type Starved,
} from './client-protocol.ts';
import { type DiskOptions, monotonicMs } from './stamped-disk.ts';

export interface Pause {
  readonly client: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** The process of all initiators, as the run that ordered it sees it. */
export class Clients {
  readonly #child: ChildProcess;
  readonly pauses: Pause[] = [];
  readonly violations: string[] = [];
  readonly starved: Starved[] = [];
  progress: Progress = NO_PROGRESS;
  #failure: Error | undefined;
  readonly #reached = new Set<'started' | 'finished'>();
  #wake: () => void = () => {};

  /** @param child clients-main, its standard input and output piped */
  constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null || child.stdin === null) throw new Error('the initiators are not connected');
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#heard(JSON.parse(line) as ClientsReport);
    });
    child.on('exit', (code) => {
      if (!this.#reached.has('finished')) this.#failure ??= new Error(`the initiators ended with ${code}`);
      this.#wake();
    });
  }

  /** How long the lane, of all disks, that has waited longest has been without an answer. */
  get silentMs(): number {
    return monotonicMs() - this.progress.oldestAnswerMs;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  async start(seed: number, disks: readonly DiskOptions[], timeoutMs: number): Promise<void> {
    this.#order({ kind: 'start', seed, disks });
    await this.#until('started', timeoutMs);
    this.progress = { ...this.progress, oldestAnswerMs: monotonicMs() };
  }

  /** Lets them stop and read back everything. */
  async finish(timeoutMs: number): Promise<void> {
    this.#order({ kind: 'finish' });
    await this.#until('finished', timeoutMs);
  }

  async end(): Promise<void> {
    await kill(this.#child);
  }

  #order(order: ClientsOrder): void {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  #heard(report: ClientsReport): void {
    switch (report.kind) {
      case 'pause':
        this.pauses.push(report);
        return;
      case 'violation':
        this.violations.push(`client ${report.client}, ${report.what}`);
        return;
      case 'starved':
        this.starved.push(report);
        return;
      case 'progress':
        this.progress = report;
        return;
      case 'failed':
        this.#failure ??= new Error(`an initiator failed: ${report.what}`);
        break;
      case 'started':
      case 'finished':
        this.#reached.add(report.kind);
        break;
    }
    this.#wake();
  }

  async #until(what: 'started' | 'finished', timeoutMs: number): Promise<void> {
    const deadlineMs = monotonicMs() + timeoutMs;
    while (!this.#reached.has(what)) {
      if (this.#failure !== undefined) throw this.#failure;
      const leftMs = deadlineMs - monotonicMs();
      if (leftMs <= 0) throw new Error(`the initiators have not ${what} within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
