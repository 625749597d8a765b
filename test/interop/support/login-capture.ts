import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CaptureReader, tcpSegment } from '../../../scripts/lab/capture-frames.ts';
import type { Lab } from '../../../scripts/lab/lab.ts';
import { captures } from '../../../scripts/lab/tcpdump.ts';
import { loginTranscript, type Piece } from './login-transcript.ts';

const ISCSI_PORT = 3260;
/** Whole segments, headers included, on an Ethernet. */
const SNAP_BYTES = 2048;
/** Logins come in small segments. What is read afterwards does not, and would crowd them out of a busy capture. */
const LONGEST_LOGIN_FRAME_BYTES = 1200;
/** What the system keeps until tcpdump comes to it. */
const CAPTURE_BUFFER_KIB = 16_384;
/** How often, and how many times at most, it is looked whether the file still grows before the capture ends. */
const CATCH_UP_LOOK_MS = 300;
const CATCH_UP_LOOKS = 10;

/** Captures iSCSI on the bridge and decodes how every connection logged in. */
export class LoginCapture {
  readonly #file: string;
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #listening: Promise<void>;

  constructor(lab: Lab, file: string) {
    this.#file = file;
    const filter = `tcp port ${ISCSI_PORT} and less ${LONGEST_LOGIN_FRAME_BYTES}`;
    const sizes = ['-s', String(SNAP_BYTES), '-B', String(CAPTURE_BUFFER_KIB)];
    // Otherwise frames are handed over a second late, and those of the last second not at all when it ends.
    const atOnce = ['--immediate-mode', '-U'];
    const options = ['-i', 'br0', ...atOnce, ...sizes, '-w', file, filter];
    this.#process = lab.spawnOnBridge('tcpdump', ['-Z', 'root', ...options], ['ignore', 'ignore', 'pipe']);
    this.#closed = once(this.#process, 'close');
    this.#listening = captures(this.#process);
  }

  listening(): Promise<void> {
    return this.#listening;
  }

  /** @returns the logins, in the order of their connections. May be called again. */
  async stop(): Promise<string[]> {
    await this.#caughtUp();
    this.#process.kill('SIGINT');
    await this.#closed;
    return [...connectionsOf(readFileSync(this.#file)).values()]
      .map(loginTranscript)
      .filter((transcript) => transcript !== '');
  }

  /** When it is told to end, tcpdump leaves what it has not come to yet: so it is let come to it. */
  async #caughtUp(): Promise<void> {
    let sizeBytes = -1;
    for (let look = 0; look < CATCH_UP_LOOKS && this.#process.exitCode === null; look++) {
      const nowBytes = statSync(this.#file).size;
      if (nowBytes === sizeBytes) return;
      sizeBytes = nowBytes;
      await sleep(CATCH_UP_LOOK_MS);
    }
  }
}

/** What each TCP connection carried, in order, without what was sent twice. */
function connectionsOf(capture: Buffer): Map<string, Piece[]> {
  const connections = new Map<string, Piece[]>();
  const nextSequence = new Map<string, number>();
  for (const frame of new CaptureReader().push(capture)) {
    const segment = tcpSegment(frame);
    if (segment === undefined || segment.payload.length === 0) continue;
    const { from, to, sequence, payload } = segment;
    const fromInitiator = to.endsWith(`:${ISCSI_PORT}`);
    const direction = `${from} ${to}`;
    if (sequence !== (nextSequence.get(direction) ?? sequence)) continue;
    nextSequence.set(direction, (sequence + payload.length) >>> 0);
    const key = fromInitiator ? direction : `${to} ${from}`;
    const pieces = connections.get(key) ?? [];
    connections.set(key, pieces);
    pieces.push({ from: fromInitiator ? 'initiator' : 'target', bytes: payload });
  }
  return connections;
}
