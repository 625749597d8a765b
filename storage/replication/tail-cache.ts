import type { LoggedRecord } from '../lun/log-record.ts';
import { MAX_APPEND_RECORDS, TAIL_CACHE_BYTES } from './limits.ts';

/** The newest records of the log, from which a primary sends without reading the file. */
export class TailCache {
  #records: Uint8Array[] = [];
  #head = 0;
  #firstIndex = 0;
  #lengthBytes = 0;

  clear(): void {
    this.#records = [];
    this.#head = 0;
    this.#lengthBytes = 0;
  }

  add(index: number, { payload, slab }: LoggedRecord): void {
    if (slab !== undefined) slab.kept = true;
    if (
      this.#records.length - this.#head === 0 ||
      index !== this.#firstIndex + this.#records.length - this.#head
    ) {
      this.clear();
      this.#firstIndex = index;
    }
    this.#records.push(payload);
    this.#lengthBytes += payload.length;
    while (this.#lengthBytes > TAIL_CACHE_BYTES) {
      this.#lengthBytes -= (this.#records[this.#head] as Uint8Array).length;
      this.#records[this.#head++] = EMPTY;
      this.#firstIndex++;
    }
    if (this.#head > 4096) {
      this.#records = this.#records.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Records from `index` on, about `maxBytes` of them and one at least; undefined when they are not here. */
  take(index: number, maxBytes: number): Uint8Array[] | undefined {
    const count = this.#records.length - this.#head;
    if (index < this.#firstIndex || index >= this.#firstIndex + count) return undefined;
    const taken: Uint8Array[] = [];
    let lengthBytes = 0;
    for (let i = this.#head + index - this.#firstIndex; i < this.#records.length; i++) {
      const record = this.#records[i] as Uint8Array;
      const isFull = taken.length === MAX_APPEND_RECORDS || lengthBytes + record.length > maxBytes;
      if (taken.length > 0 && isFull) break;
      taken.push(record);
      lengthBytes += record.length;
    }
    return taken;
  }
}

const EMPTY = new Uint8Array(0);
