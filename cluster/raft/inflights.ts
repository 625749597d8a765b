import { invariant } from '../../base/errors.ts';

interface Inflight {
  readonly lastIndex: number;
  readonly sizeBytes: number;
}

/** Below this the dead head of the queue is not worth moving the rest. */
const COMPACT_FROM = 64;

/** A sliding window over the append messages sent to one peer and not yet acknowledged. */
export class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  #queue: Inflight[] = [];
  #head = 0;
  #bytes = 0;

  /** @param maxBytes soft: a message that starts below it may end above */
  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#queue.length - this.#head;
  }

  get full(): boolean {
    return this.count >= this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  /** Notes a message that ends with the entry `lastIndex`; these only ever rise. */
  add(lastIndex: number, sizeBytes: number): void {
    invariant(!this.full, 'an append was sent past the inflight limit');
    this.#queue.push({ lastIndex, sizeBytes });
    this.#bytes += sizeBytes;
  }

  /** Everything up to `index` has arrived. */
  freeThrough(index: number): void {
    for (;;) {
      const oldest = this.#queue[this.#head];
      if (oldest === undefined || oldest.lastIndex > index) break;
      this.#bytes -= oldest.sizeBytes;
      this.#head++;
    }
    if (this.#head >= COMPACT_FROM && this.#head * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  reset(): void {
    this.#queue = [];
    this.#head = 0;
    this.#bytes = 0;
  }
}
