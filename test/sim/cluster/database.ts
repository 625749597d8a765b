import type { RandomSource } from '../../../base/random.ts';
import type { StateDatabase } from '../../../cluster/applied-store.ts';
import type { Pace } from '../../support/faulty-disk.ts';

type Changes = Parameters<StateDatabase['batch']>[0];

/** A database in memory that keeps the promises `level` makes, and no others: whole batches, durable on demand. */
export class SimulatedDatabase {
  #durable = new Map<string, Uint8Array>();
  #visible = new Map<string, Uint8Array>();
  #unsynced: Changes[] = [];
  #life = 0;

  /** As one process sees it. */
  mount(pace: Pace): StateDatabase {
    const life = this.#life;
    const enter = async (operation: string): Promise<void> => {
      if (life === this.#life) await pace(operation, 'database');
      if (life !== this.#life) await new Promise(() => {});
    };
    const all = (): [string, Uint8Array][] => [...this.#visible].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      open: () => Promise.resolve(),
      get: async (key) => {
        await enter('get');
        return this.#visible.get(key);
      },
      async *iterator() {
        await enter('iterator');
        yield* all();
      },
      batch: async (changes, { sync }) => {
        await enter('batch');
        carryOut(this.#visible, changes);
        this.#unsynced.push(changes);
        if (sync) this.#sync();
        await enter('batch-done');
      },
      close: () => Promise.resolve(),
    };
  }

  #sync(): void {
    for (const changes of this.#unsynced) carryOut(this.#durable, changes);
    this.#unsynced = [];
  }

  /** Everything is gone; no process is using it. */
  lose(): void {
    this.#life++;
    this.#durable = new Map();
    this.#visible = new Map();
    this.#unsynced = [];
  }

  /** The process dies; what it wrote stays. */
  kill(): void {
    this.#life++;
  }

  /** Power is lost: of what was not synced, some batches stay, from the first on. */
  crash(random: RandomSource): void {
    this.#life++;
    for (const changes of this.#unsynced.slice(0, random.below(this.#unsynced.length + 1))) {
      carryOut(this.#durable, changes);
    }
    this.#unsynced = [];
    this.#visible = new Map(this.#durable);
  }
}

function carryOut(content: Map<string, Uint8Array>, changes: Changes): void {
  for (const change of changes) {
    if (change.type === 'put') content.set(change.key, change.value);
    else content.delete(change.key);
  }
}
