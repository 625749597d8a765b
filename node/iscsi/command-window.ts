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
  /** Ahead of a gap, and not to come any more. */
  readonly #skipped = new Set<number>();

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
      this.#receive(cmdSN);
      this.#outstanding++;
      return 'deliver';
    }
    if (!this.#isInWindow(cmdSN) || cmdSN === this.#expCmdSN) return 'ignore';
    if (this.#held.has(cmdSN) || this.#skipped.has(cmdSN)) return 'ignore';
    this.#held.add(cmdSN);
    return 'hold';
  }

  /** Numbers 2^31 apart are neither before nor after each other, and so are not in it either. */
  #isInWindow(cmdSN: number): boolean {
    return serialDistance(this.#expCmdSN, cmdSN) >= 0 && serialLessOrEqual(cmdSN, this.maxCmdSN);
  }

  #receive(cmdSN: number): void {
    this.#expCmdSN = serialAdd(cmdSN, 1);
    if (this.#skipped.size === 0) return;
    while (this.#skipped.delete(this.#expCmdSN)) this.#expCmdSN = serialAdd(this.#expCmdSN, 1);
  }

  /** The held command that is next now, which from here on counts as delivered; undefined while a gap remains. */
  releaseHeld(): number | undefined {
    const cmdSN = this.#expCmdSN;
    if (!this.#held.delete(cmdSN)) return undefined;
    this.#receive(cmdSN);
    this.#outstanding++;
    return cmdSN;
  }

  /** A delivered command needs its place no longer. */
  answered(): void {
    this.#outstanding--;
  }

  /**
   * The command delivered last, which is answered() already, was rejected: it does not count as received (§7.3), and the
   * initiator has to fill the gap. Nothing may have been sent since it was delivered.
   */
  refuse(cmdSN: number): void {
    const end = this.#expCmdSN;
    this.#expCmdSN = cmdSN;
    for (let n = serialAdd(cmdSN, 1); n !== end; n = serialAdd(n, 1)) this.#skipped.add(n);
  }

  /**
   * Counts a command that did not come, or is held, as received, since the initiator has aborted it (§11.6.1).
   * @returns whether it was still to be delivered
   */
  skip(cmdSN: number): boolean {
    if (!this.#isInWindow(cmdSN) || this.#skipped.has(cmdSN)) return false;
    this.#held.delete(cmdSN);
    if (cmdSN === this.#expCmdSN) this.#receive(cmdSN);
    else this.#skipped.add(cmdSN);
    return true;
  }

  /** Whether every command before this one has come; also where it lies outside the window, since then nobody can tell. */
  hasAllBefore(cmdSN: number): boolean {
    return cmdSN === this.#expCmdSN || !(this.#isInWindow(cmdSN) || cmdSN === serialAdd(this.maxCmdSN, 1));
  }

  /** Counts as received what is missing or held before a command, since all of it has been aborted (§4.2.3.3). */
  skipAllBefore(cmdSN: number): void {
    while (!this.hasAllBefore(cmdSN)) this.skip(this.#expCmdSN);
  }
}
