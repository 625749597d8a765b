import { MAX_PENDING_ATTENTIONS } from './limits.ts';
import type { Sense } from './sense.ts';

/** What one initiator has yet to be told of a logical unit, in the order it happened (SAM-5 §5.14). */
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

  raise(attention: Sense): void {
    if (this.#pending.some((a) => a.asc === attention.asc && a.ascq === attention.ascq)) return;
    if (this.#pending.length >= MAX_PENDING_ATTENTIONS) this.#pending.pop();
    this.#pending.push(attention);
  }

  take(): Sense | undefined {
    return this.#pending.shift();
  }
}
