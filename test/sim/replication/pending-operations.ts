import type { Process } from '../world.ts';

/** How soon a disk that hung goes on. */
const HUNG_LOOK_MS = 5;

interface Pending {
  readonly carryOut: () => void;
  /** Of so many pieces, one after the other, it may be done in part. */
  readonly pieces: number;
  readonly carryOutPart: (pieces: number) => void;
}

/**
 * What a process has asked of the disk and not been told the end of. It is done in order; when the process is
 * killed some of it, from the front, is done at once and the rest never, since the next process is not
 * started before the last one is gone.
 */
export class PendingOperations {
  readonly #process: Process;
  readonly #isHung: () => boolean;
  #waiting: Pending[] = [];
  #lastDoneMs = 0;

  /** @param isHung nothing is done while it says so, however long that is */
  constructor(process: Process, isHung: () => boolean = () => false) {
    this.#process = process;
    this.#isHung = isHung;
    process.onKill(() => {
      const { random } = process.world;
      const waiting = this.#waiting.splice(0);
      const count = random.below(waiting.length + 1);
      for (const { carryOut } of waiting.slice(0, count)) carryOut();
      const next = waiting[count];
      if (next !== undefined && next.pieces > 1) next.carryOutPart(random.below(next.pieces));
    });
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** @param parts where a kill may find it half done: of how many pieces it is, and what does the first of them */
  run(delayMs: number, carryOut: () => void, parts?: Omit<Pending, 'carryOut'>): void {
    const { world, isAlive } = this.#process;
    if (!isAlive) return;
    this.#lastDoneMs = Math.max(this.#lastDoneMs, world.nowMs + delayMs);
    this.#waiting.push({ pieces: 1, carryOutPart: () => {}, ...parts, carryOut });
    const due = (): void => {
      if (this.#isHung()) world.after(HUNG_LOOK_MS, due);
      else this.#waiting.shift()?.carryOut();
    };
    world.at(this.#lastDoneMs, due);
  }
}
