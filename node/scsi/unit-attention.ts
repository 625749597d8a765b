import { type Sense, sense } from './sense.ts';

/** Attentions of a reset or a loss of the nexus, those that say most first; all others come after them (SAM-5 §5.14.3). */
const RESETS: readonly Sense[] = [sense.powerOn, sense.busReset, sense.deviceReset, sense.nexusLost];

/**
 * What one initiator has yet to be told of a logical unit: resets first, the rest in the order it happened. No more than
 * there are kinds of it, since none is told twice in a row.
 */
export class UnitAttentions {
  readonly #pending: Sense[];

  constructor(first: Sense) {
    this.#pending = [first];
  }

  get count(): number {
    return this.#pending.length;
  }

  get next(): Sense | undefined {
    return this.#pending[0];
  }

  /** Whether the next one is of a reset. */
  get tellOfReset(): boolean {
    return this.next !== undefined && rankOf(this.next) < RESETS.length;
  }

  raise(attention: Sense): void {
    if (this.#pending.some((other) => isSame(other, attention))) return;
    const rank = rankOf(attention);
    const lesser = this.#pending.findIndex((other) => rankOf(other) > rank);
    this.#pending.splice(lesser === -1 ? this.#pending.length : lesser, 0, attention);
  }

  take(): Sense | undefined {
    return this.#pending.shift();
  }
}

function rankOf(attention: Sense): number {
  const rank = RESETS.findIndex((reset) => isSame(reset, attention));
  return rank === -1 ? RESETS.length : rank;
}

function isSame(a: Sense, b: Sense): boolean {
  return a.asc === b.asc && a.ascq === b.ascq;
}
