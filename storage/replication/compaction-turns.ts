import { COMPACT_IN_FLIGHT_BYTES } from './limits.ts';

/**
 * What the compactors of a node's groups have in flight together. Clients of any of them wait behind it, on the disk that
 * all logs are on, so it is a bound of the node that the passes under way share.
 */
export class CompactionTurns {
  readonly #elsewhere: () => number;
  #passes = 0;

  /** @param elsewhere passes under way in other workers of the node */
  constructor(elsewhere: () => number = () => 0) {
    this.#elsewhere = elsewhere;
  }

  /** Under way in this worker. */
  get passes(): number {
    return this.#passes;
  }

  begin(): void {
    this.#passes++;
  }

  end(): void {
    this.#passes--;
  }

  /** What one pass may have in flight; beyond that it waits for what it carried first. */
  get shareBytes(): number {
    return COMPACT_IN_FLIGHT_BYTES / Math.max(1, this.#passes + this.#elsewhere());
  }
}
