import type { Slab } from '../../base/slab-memory.ts';
import type { LoggedRecord } from '../lun/log-record.ts';
import { MAX_APPEND_RECORDS, TAIL_CACHE_BYTES } from './limits.ts';

interface Cached {
  readonly payload: Uint8Array;
  readonly slab: Slab | undefined;
}

/** The newest records of the log, from which a primary sends without reading the file. */
export class TailCache {
  readonly #giveBack: (slab: Slab) => void;
  #records: Cached[] = [];
  #head = 0;
  #firstIndex = 0;
  #lengthBytes = 0;

  /** @param giveBack told once for each record that is no longer here of what it is a part of */
  constructor(giveBack: (slab: Slab) => void) {
    this.#giveBack = giveBack;
  }

  clear(): void {
    this.dropBefore(Number.POSITIVE_INFINITY);
  }

  add(index: number, { payload, slab }: LoggedRecord): void {
    if (slab !== undefined) slab.parts++;
    const count = this.#records.length - this.#head;
    if (count === 0 || index !== this.#firstIndex + count) {
      this.clear();
      this.#firstIndex = index;
    }
    this.#records.push({ payload, slab });
    this.#lengthBytes += payload.length;
    while (this.#lengthBytes > TAIL_CACHE_BYTES) this.#dropFirst();
    this.#shrink();
  }

  /** All that are sent to have what is before. Should it be asked for again, it is in the log. */
  dropBefore(index: number): void {
    while (this.#head < this.#records.length && this.#firstIndex < index) this.#dropFirst();
    this.#shrink();
  }

  #dropFirst(): void {
    const { payload, slab } = this.#records[this.#head] as Cached;
    this.#records[this.#head++] = NOTHING;
    this.#firstIndex++;
    this.#lengthBytes -= payload.length;
    if (slab !== undefined) this.#giveBack(slab);
  }

  #shrink(): void {
    if (this.#head < this.#records.length && this.#head <= 4096) return;
    this.#records = this.#records.slice(this.#head);
    this.#head = 0;
  }

  /** Records from `index` on, about `maxBytes` of them and one at least; undefined when they are not here. */
  take(index: number, maxBytes: number): Uint8Array[] | undefined {
    const count = this.#records.length - this.#head;
    if (index < this.#firstIndex || index >= this.#firstIndex + count) return undefined;
    const taken: Uint8Array[] = [];
    let lengthBytes = 0;
    for (let i = this.#head + index - this.#firstIndex; i < this.#records.length; i++) {
      const { payload } = this.#records[i] as Cached;
      const isFull = taken.length === MAX_APPEND_RECORDS || lengthBytes + payload.length > maxBytes;
      if (taken.length > 0 && isFull) break;
      taken.push(payload);
      lengthBytes += payload.length;
    }
    return taken;
  }
}

const NOTHING: Cached = { payload: new Uint8Array(0), slab: undefined };
