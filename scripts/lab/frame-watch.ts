import type { ChildProcess } from 'node:child_process';
import { CaptureReader, ipv4Packet } from './capture-frames.ts';
import type { Lab } from './lab.ts';
import { kill } from './process-run.ts';
import { startFrameCapture } from './tcpdump.ts';

export interface SeenFrame {
  readonly fromAddress: string;
  readonly toAddress: string;
  /** Of the whole frame. */
  readonly sizeBytes: number;
  /** The frame as text, a character for each byte. */
  readonly text: string;
}

/** Watches, on the bridge, for frames, as they pass. One question at a time. */
export class FrameWatch {
  readonly listening: Promise<void>;
  readonly #process: ChildProcess;
  readonly #reader = new CaptureReader();
  /** Those that no question has looked at. */
  readonly #seen: SeenFrame[] = [];
  #look: (() => void) | undefined;

  /** @param filter as tcpdump takes it; what is no IPv4 is passed over */
  constructor(lab: Lab, filter: string) {
    const capture = startFrameCapture(lab, filter);
    this.#process = capture.process;
    this.listening = capture.listening;
    this.#process.stdout?.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  /**
   * The first frame that is so, of those that no question looked at yet.
   * @param isIt called once for each frame, in order
   * @throws Error when there is none within the time
   */
  async until(what: string, isIt: (frame: SeenFrame) => boolean, timeoutMs: number): Promise<SeenFrame> {
    return await new Promise((resolve, reject) => {
      let looked = 0;
      const end = (): void => {
        clearTimeout(timer);
        this.#look = undefined;
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`${what}: not among ${looked} frames within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#look = () => {
        for (let frame = this.#seen.shift(); frame !== undefined; frame = this.#seen.shift()) {
          looked++;
          if (!isIt(frame)) continue;
          end();
          resolve(frame);
          return;
        }
      };
      this.#look();
    });
  }

  async stop(): Promise<void> {
    await kill(this.#process);
  }

  #take(bytes: Buffer): void {
    for (const frame of this.#reader.push(bytes)) {
      const packet = ipv4Packet(frame);
      if (packet === undefined) continue;
      const { fromAddress, toAddress } = packet;
      this.#seen.push({ fromAddress, toAddress, sizeBytes: frame.length, text: frame.toString('latin1') });
    }
    this.#look?.();
  }
}
