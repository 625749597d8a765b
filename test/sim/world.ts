import type { CancelTimer, Clock, Timers } from '../../base/clock.ts';
import { SeededRandom } from '../../base/random.ts';

/** Once in so many events the event loop itself gets its turn, for signals and for failed promises. */
const BREATHE_EVERY = 256;

interface Scheduled {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Virtual time: everything that happens in a simulation is one of its events, in an order fixed by the seed. */
export class World {
  readonly random: SeededRandom;
  nowMs = 0;
  #order = 0;
  readonly #heap: Scheduled[] = [];
  /** Nothing more happens. */
  isStopped = false;
  events = 0;
  readonly #outside = new Set<Promise<void>>();

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  chance(percent: number): boolean {
    return this.random.below(1000) < percent * 10;
  }

  /** Uniform over whole milliseconds, both ends included. */
  between(lowMs: number, highMs: number): number {
    return lowMs + this.random.below(highMs - lowMs + 1);
  }

  at(atMs: number, run: () => void): void {
    this.#push({ atMs: Math.max(atMs, this.nowMs), order: this.#order++, run });
  }

  /** Before all that is to happen at that moment, but for what was put there so before. */
  atFirst(atMs: number, run: () => void): void {
    this.#push({ atMs: Math.max(atMs, this.nowMs), order: Number.MIN_SAFE_INTEGER + this.#order++, run });
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    heap.push(event);
    let child = heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!before(heap[child] as Scheduled, heap[parent] as Scheduled)) break;
      swap(heap, child, parent);
      child = parent;
    }
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.nowMs + delayMs, run);
  }

  /** Work of the runtime's own threads, which takes no time here: nothing else happens before it has been done. */
  outside<T>(work: Promise<T>): Promise<T> {
    const done: Promise<void> = work.then(
      () => void this.#outside.delete(done),
      () => void this.#outside.delete(done),
    );
    this.#outside.add(done);
    return work;
  }

  #pop(): Scheduled {
    const heap = this.#heap;
    const top = heap[0] as Scheduled;
    const last = heap.pop() as Scheduled;
    if (heap.length > 0) {
      heap[0] = last;
      let parent = 0;
      for (;;) {
        let least = parent;
        for (const child of [2 * parent + 1, 2 * parent + 2]) {
          if (child < heap.length && before(heap[child] as Scheduled, heap[least] as Scheduled))
            least = child;
        }
        if (least === parent) break;
        swap(heap, parent, least);
        parent = least;
      }
    }
    return top;
  }

  /** Runs until `untilMs`, calling `afterEach` whenever everything set off by one event has come to rest. */
  async runUntil(untilMs: number, afterEach: () => void): Promise<void> {
    while (!this.isStopped && this.#heap.length > 0 && (this.#heap[0] as Scheduled).atMs <= untilMs) {
      const { atMs, run } = this.#pop();
      this.nowMs = atMs;
      this.events++;
      run();
      // Neither comes before every promise that has been settled has gone on.
      await new Promise<void>((resolve) => {
        if (this.events % BREATHE_EVERY === 0) setImmediate(resolve);
        else process.nextTick(resolve);
      });
      while (this.#outside.size > 0) await Promise.all(this.#outside);
      afterEach();
    }
    if (!this.isStopped) this.nowMs = untilMs;
  }
}

function before(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function swap(heap: Scheduled[], i: number, j: number): void {
  const moved = heap[i] as Scheduled;
  heap[i] = heap[j] as Scheduled;
  heap[j] = moved;
}

/** One run of a node's process. Everything it learns comes in through `enter`. */
export class Process implements Clock, Timers {
  readonly world: World;
  readonly nodeId: string;
  readonly incarnation: string;
  isAlive = true;
  /** Told whenever something is about to happen in this process. */
  onEnter: () => void = () => {};
  /** Given what is thrown in this process; by default it is thrown on. */
  onThrown: ((error: unknown) => void) | undefined;
  #pausedUntilMs = 0;
  readonly #onKill: (() => void)[] = [];
  #offsetMs: number;
  readonly #rate: number;

  constructor(world: World, nodeId: string, incarnation: string) {
    this.world = world;
    this.nodeId = nodeId;
    this.incarnation = incarnation;
    this.#offsetMs = world.random.below(1_000_000);
    // Clocks drift by up to 500 ppm; grants allow for twice that.
    this.#rate = 1 + (world.random.below(1001) - 500) / 1_000_000;
  }

  monotonicMs(): number {
    return this.#offsetMs + this.world.nowMs * this.#rate;
  }

  wallMs(): number {
    return this.world.nowMs;
  }

  get isPaused(): boolean {
    return this.world.nowMs < this.#pausedUntilMs;
  }

  /** When it goes on, or has gone on last. */
  get pausedUntilMs(): number {
    return this.#pausedUntilMs;
  }

  /** Whether it has stood still since then. */
  hasPausedSince(atMs: number): boolean {
    return this.#pausedUntilMs > atMs;
  }

  /** The process stands still as under SIGSTOP; the world and its clock go on. */
  pause(forMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.world.nowMs + forMs);
  }

  /** Its monotonic clock leaps ahead, as when a machine was suspended. */
  leap(byMs: number): void {
    this.#offsetMs += byMs;
  }

  /** Called when the process is killed, before anything else can happen. */
  onKill(settle: () => void): void {
    this.#onKill.push(settle);
  }

  kill(): void {
    this.isAlive = false;
    for (const settle of this.#onKill) settle();
  }

  /** Runs in this process: at once, after its pause, or never. */
  enter(run: () => void): void {
    if (!this.isAlive) return;
    if (this.isPaused) {
      this.world.at(this.#pausedUntilMs, () => this.enter(run));
      return;
    }
    this.onEnter();
    if (this.onThrown === undefined) {
      run();
      return;
    }
    try {
      run();
    } catch (error) {
      this.onThrown(error);
    }
  }

  enterAfter(delayMs: number, run: () => void): void {
    this.world.after(delayMs, () => this.enter(run));
  }

  /**
   * What comes in from outside: after a pause it is taken before timers that have become due meanwhile, as by an event loop that
   * stood still while it waited.
   */
  arriveAfter(delayMs: number, run: () => void): void {
    this.world.after(delayMs, () => {
      if (this.isAlive && this.isPaused) this.world.atFirst(this.#pausedUntilMs, () => this.enter(run));
      else this.enter(run);
    });
  }

  setTimer(delayMs: number, fire: () => void): CancelTimer {
    let isCancelled = false;
    this.enterAfter(delayMs, () => {
      if (!isCancelled) fire();
    });
    return () => {
      isCancelled = true;
    };
  }
}
