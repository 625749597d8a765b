import type { Clients, LanePart, OtherWorkers, WorkerPart } from '../../storage/replication/index.ts';

/** Of each worker: how clients fare, groups and floor of what is sent and of what is taken in, passes of compaction. */
const CELLS_PER_WORKER = 6;
/** A floor in bytes does not fit a cell. */
const FLOOR_UNIT_BYTES = 1024;
const SENDING = 1;
const TAKING = 3;
const PASSES = 5;

/** By what the workers of a node share its bounds: memory in which each writes its own cells and reads those of the others. */
export class WorkerShares implements OtherWorkers {
  readonly #cells: Int32Array;
  readonly #ownAt: number;

  /** @param memory from `memoryFor`, the same for all */
  constructor(memory: SharedArrayBuffer, worker: number) {
    this.#cells = new Int32Array(memory);
    this.#ownAt = worker * CELLS_PER_WORKER;
  }

  static memoryFor(workers: number): SharedArrayBuffer {
    return new SharedArrayBuffer(workers * CELLS_PER_WORKER * Int32Array.BYTES_PER_ELEMENT);
  }

  tell({ clients, sending, taking, compactions }: WorkerPart): void {
    const at = this.#ownAt;
    Atomics.store(this.#cells, at, clients);
    this.#tellLane(at + SENDING, sending);
    this.#tellLane(at + TAKING, taking);
    Atomics.store(this.#cells, at + PASSES, compactions);
  }

  #tellLane(at: number, { groups, floorBytesPerSecond }: LanePart): void {
    Atomics.store(this.#cells, at, groups);
    Atomics.store(this.#cells, at + 1, Math.ceil(floorBytesPerSecond / FLOOR_UNIT_BYTES));
  }

  others(): WorkerPart {
    let clients = 0;
    for (const at of this.#othersAt()) clients = Math.max(clients, Atomics.load(this.#cells, at));
    return {
      clients: clients as Clients,
      sending: this.#lane(SENDING),
      taking: this.#lane(TAKING),
      compactions: this.#sum(PASSES),
    };
  }

  #lane(cell: number): LanePart {
    const floorBytesPerSecond = this.#sum(cell + 1) * FLOOR_UNIT_BYTES;
    return { groups: this.#sum(cell), floorBytesPerSecond };
  }

  #sum(cell: number): number {
    let sum = 0;
    for (const at of this.#othersAt()) sum += Atomics.load(this.#cells, at + cell);
    return sum;
  }

  *#othersAt(): Generator<number> {
    for (let at = 0; at < this.#cells.length; at += CELLS_PER_WORKER) if (at !== this.#ownAt) yield at;
  }
}
