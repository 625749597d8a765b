import { serialLess } from '../../base/serial-number.ts';
import type { Arrival, CommandWindow } from './command-window.ts';
import { ownFrame, type PduFrame } from './framer.ts';

const COMMAND_SN_OFFSET = 24;

/** Non-immediate commands of one session: delivers each once those before it have come, and keeps it until then. */
export class CommandQueue {
  readonly #window: CommandWindow;
  readonly #deliver: (frame: PduFrame) => void;
  /** Commands ahead of a gap in CmdSN; as many as the window is wide. */
  readonly #held = new Map<number, PduFrame>();
  #heldBytes = 0;
  /** Requests that wait for the commands before them. */
  #waiting: { readonly cmdSN: number; readonly resolve: () => void }[] = [];

  /** @param deliver the bytes that the frame lies in may change once it returns */
  constructor(window: CommandWindow, deliver: (frame: PduFrame) => void) {
    this.#window = window;
    this.#deliver = deliver;
  }

  /** Data of the commands that are kept. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A command has come. The bytes it lies in may change once this returns. */
  receive(frame: PduFrame): Arrival {
    const cmdSN = commandSN(frame);
    const arrival = this.#window.arrive(cmdSN);
    if (arrival === 'deliver') {
      this.#deliver(frame);
      this.#deliverHeld();
    } else if (arrival === 'hold') {
      this.#held.set(cmdSN, ownFrame(frame));
      this.#heldBytes += frame.dataLengthBytes;
    }
    return arrival;
  }

  #deliverHeld(): void {
    while (this.#held.size > 0) {
      const cmdSN = this.#window.releaseHeld();
      const frame = cmdSN === undefined ? undefined : this.#takeHeld(cmdSN);
      if (frame === undefined) break;
      this.#deliver(frame);
    }
    if (this.#waiting.length > 0) this.#releaseWaiting();
  }

  #takeHeld(cmdSN: number): PduFrame | undefined {
    const frame = this.#held.get(cmdSN);
    if (frame === undefined) return undefined;
    this.#held.delete(cmdSN);
    this.#heldBytes -= frame.dataLengthBytes;
    return frame;
  }

  /** Resolves once every command before this one has come: an immediate request may overtake some (RFC 7143 §4.2.3.3). */
  received(cmdSN: number): Promise<void> {
    if (this.#window.hasAllBefore(cmdSN)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ cmdSN, resolve }));
  }

  #releaseWaiting(): void {
    const all = this.#waiting;
    this.#waiting = all.filter(({ cmdSN }) => !this.#window.hasAllBefore(cmdSN));
    for (const { cmdSN, resolve } of all) if (this.#window.hasAllBefore(cmdSN)) resolve();
  }

  /**
   * A command that is yet to be delivered counts as received, and is not carried out any more (§11.6.1).
   * @returns whether it was yet to be delivered
   */
  skip(cmdSN: number): boolean {
    if (!this.#window.skip(cmdSN)) return false;
    this.#takeHeld(cmdSN);
    this.#deliverHeld();
    return true;
  }

  /** As skip, for all that are missing or held before a command. */
  skipAllBefore(cmdSN: number): void {
    this.#window.skipAllBefore(cmdSN);
    for (const held of [...this.#held.keys()]) if (serialLess(held, cmdSN)) this.#takeHeld(held);
    this.#deliverHeld();
  }
}

/** CmdSN, which lies at the same place in every request but Data-Out and SNACK. */
export function commandSN({ header, at }: PduFrame): number {
  const byte = (i: number): number => header[at + COMMAND_SN_OFFSET + i] as number;
  return ((byte(0) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3)) >>> 0;
}
