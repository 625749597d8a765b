import { serialAdd, serialDistance, serialLess, serialLessOrEqual } from '../../base/serial-number.ts';

/** What to do with a command by its CmdSN. */
export type Arrival = 'deliver' | 'hold' | 'ignore';

/**
 * Command numbering of one session (RFC 7143 §4.2.2.1): commands are delivered in the order of CmdSN, and the
 * window told to the initiator never shrinks and never covers more than `depth` commands not yet answered.
 */
export class CommandWindow {
  readonly #depth: number;
  #expCmdSN: number;
  #maxCmdSN: number;
  #outstanding = 0;
  readonly #held = new Set<number>();

  /** @param firstCmdSN the CmdSN the first command is to have */
  constructor(firstCmdSN: number, depth: number) {
    this.#depth = depth;
    this.#expCmdSN = firstCmdSN;
    this.#maxCmdSN = serialAdd(firstCmdSN, depth - 1);
  }

  get expCmdSN(): number {
    return this.#expCmdSN;
  }

  /** Also moves the window on by what has been answered since. */
  get maxCmdSN(): number {
    const wanted = serialAdd(this.#expCmdSN, this.#depth - this.#outstanding - 1);
    if (serialLess(this.#maxCmdSN, wanted)) this.#maxCmdSN = wanted;
    return this.#maxCmdSN;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /**
   * A non-immediate command has come. Outside the window, or come before, it is ignored (§4.2.2.1).
   * After "deliver", the command counts as outstanding until answered().
   */
  arrive(cmdSN: number): Arrival {
    if (cmdSN === this.#expCmdSN && serialLessOrEqual(cmdSN, this.maxCmdSN)) {
      this.#expCmdSN = serialAdd(cmdSN, 1);
      this.#outstanding++;
      return 'deliver';
    }
    if (serialLess(cmdSN, this.#expCmdSN) || serialLess(this.maxCmdSN, cmdSN)) return 'ignore';
    // Neither before nor after: 2^31 apart.
    if (serialDistance(this.#expCmdSN, cmdSN) <= 0 || this.#held.has(cmdSN)) return 'ignore';
    this.#held.add(cmdSN);
    return 'hold';
  }

  /** The held command that is next now, which from here on counts as delivered; undefined while a gap remains. */
  releaseHeld(): number | undefined {
    const cmdSN = this.#expCmdSN;
    if (!this.#held.delete(cmdSN)) return undefined;
    this.#expCmdSN = serialAdd(cmdSN, 1);
    this.#outstanding++;
    return cmdSN;
  }

  /** A delivered command needs its place no longer. */
  answered(): void {
    this.#outstanding--;
  }

  /**
   * Counts a command that never came as received, since the initiator has aborted it (§11.5.5).
   * @returns whether that closed the gap at the front of the window
   */
  skip(cmdSN: number): boolean {
    if (cmdSN !== this.#expCmdSN || serialLess(this.maxCmdSN, cmdSN)) return false;
    this.#expCmdSN = serialAdd(cmdSN, 1);
    return true;
  }
}
