import type { Process } from '../world.ts';

/**
 * What a process has asked of the disk and not been told the end of. It is done in order; when the process is
 * killed some of it, from the front, is done at once and the rest never, since the next process is not
 * started before the last one is gone.
 */
export class PendingOperations {
  readonly #process: Process;
  #waiting: (() => void)[] = [];
  #lastDoneMs = 0;

  constructor(process: Process) {
    this.#process = process;
    process.onKill(() => {
      let count = process.world.random.below(this.#waiting.length + 1);
      for (const carryOut of this.#waiting.splice(0)) if (count-- > 0) carryOut();
    });
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  run(delayMs: number, carryOut: () => void): void {
    const { world, isAlive } = this.#process;
    if (!isAlive) return;
    this.#lastDoneMs = Math.max(this.#lastDoneMs, world.nowMs + delayMs);
    this.#waiting.push(carryOut);
    world.at(this.#lastDoneMs, () => this.#waiting.shift()?.());
  }
}
