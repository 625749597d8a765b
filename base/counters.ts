/** Named event counts, as "tftp.malformed". Cheap enough for every packet; shown by status and metrics. */
export interface Counters {
  add(name: string, by?: number): void;
}

export class CounterSet implements Counters {
  readonly #values = new Map<string, number>();

  add(name: string, by = 1): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + by);
  }

  get(name: string): number {
    return this.#values.get(name) ?? 0;
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
