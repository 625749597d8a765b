import type { ChildProcess } from 'node:child_process';
import { CaptureReader, tcpSegment } from './capture-frames.ts';
import { DiskSessions } from './disk-sessions.ts';
import type { Lab } from './lab.ts';
import { kill } from './process-run.ts';
import { startFrameCapture } from './tcpdump.ts';

const ISCSI_PORT = 3260;

interface Wait {
  readonly holds: (sessions: DiskSessions) => boolean;
  readonly done: () => void;
}

/** Watches, on the bridge, what a machine reads of its disk, as it does so. */
export class DiskWatch {
  readonly sessions = new DiskSessions(ISCSI_PORT);
  readonly #process: ChildProcess;
  readonly #listening: Promise<void>;
  readonly #reader = new CaptureReader();
  #waits: readonly Wait[] = [];

  constructor(lab: Lab, mac: string) {
    const capture = startFrameCapture(lab, `tcp port ${ISCSI_PORT} and ether host ${mac}`);
    this.#process = capture.process;
    this.#listening = capture.listening;
    this.#process.stdout?.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  async listening(): Promise<void> {
    await this.#listening;
  }

  /** Resolves as soon as the sessions are so. @throws Error when they are not within the time */
  async until(what: string, holds: Wait['holds'], timeoutMs: number): Promise<void> {
    if (holds(this.sessions)) return;
    let timer: NodeJS.Timeout | undefined;
    const seen = new Promise<void>((done, missed) => {
      this.#waits = [...this.#waits, { holds, done }];
      const late = (): void =>
        missed(new Error(`${what}: not seen within ${timeoutMs} ms; ${this.summary()}`));
      timer = setTimeout(late, timeoutMs);
    });
    await seen.finally(() => clearTimeout(timer));
  }

  /** A line for each connection. */
  summary(): string {
    return this.sessions.all
      .map(({ initiator, servedBy, sentBytes, reads }) => {
        const last = reads.at(-1);
        const where = last === undefined ? '' : `, the last at byte ${last.startBytes} of the disk`;
        return `${initiator} served by ${servedBy ?? 'nobody'}: sent ${sentBytes} bytes, ${reads.length} reads${where}`;
      })
      .join('\n');
  }

  async stop(): Promise<void> {
    await kill(this.#process);
  }

  #take(bytes: Buffer): void {
    for (const frame of this.#reader.push(bytes)) {
      const segment = tcpSegment(frame);
      if (segment !== undefined) this.sessions.take(segment);
    }
    const done = this.#waits.filter(({ holds }) => holds(this.sessions));
    this.#waits = this.#waits.filter((wait) => !done.includes(wait));
    for (const wait of done) wait.done();
  }
}
