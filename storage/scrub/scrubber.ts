import type { CancelTimer, Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import {
  SCRUB_BUSY_BYTES_PER_S,
  SCRUB_BYTES_PER_S,
  SCRUB_EVERY_MS,
  SCRUB_FIRST_MS,
  SCRUB_LOOK_MS,
  SCRUB_PART_BYTES,
  SCRUB_SAVE_MS,
} from './limits.ts';
import { decodeScrubState, encodeScrubState, NEVER_SCRUBBED, type ScrubState } from './scrub-state.ts';

/** Something that is read through: a copy of a portal group, a version of an image. */
export interface ScrubArea {
  /** The same from one start of the node to the next. */
  readonly name: string;
  /** About. */
  readonly totalBytes: number;
  /** Of 1: about how far a cursor is. */
  fractionAt(cursor: number): number;
  /**
   * Reads on, compares checksums and has mended what is damaged.
   * @param cursor 0 at the beginning; later what was given for `next`
   */
  readPart(cursor: number, maxBytes: number): Promise<ScrubbedPart>;
}

export interface ScrubbedPart {
  /** Where to go on; undefined at the end. */
  readonly next: number | undefined;
  readonly readBytes: number;
}

export interface ScrubberOptions {
  readonly areas: () => readonly ScrubArea[];
  readonly store: { load(): Promise<string | undefined>; save(text: string): Promise<void> };
  /** Counts of this process so far. */
  readonly damage: () => { readonly found: number; readonly mended: number };
  /** Rises with whatever clients read and write. */
  readonly activity: () => number;
  /** How many read through what is on the same disk, each its own; absent: one. */
  readonly readers?: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
}

export interface ScrubStatus {
  /** Milliseconds since the Unix epoch. */
  readonly startedAtMs: number | undefined;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly lastCompletedAtMs: number | undefined;
  /** Since this node was made. */
  readonly found: number;
  readonly mended: number;
}

/**
 * Reads everything this node keeps through, again and again, at a bounded rate that sinks while clients are at work.
 * How far it is outlives the process.
 */
export class Scrubber {
  readonly #options: ScrubberOptions;
  #state: ScrubState = NEVER_SCRUBBED;
  /** Counted by earlier processes. */
  #before = { found: 0, mended: 0 };
  #startedMs = 0;
  #savedMs = 0;
  #activity = 0;
  #cancel: CancelTimer | undefined;
  #working: Promise<void> | undefined;
  #isStarted = false;
  #isStopped = false;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { store, clock, logger } = this.#options;
    try {
      this.#state = decodeScrubState(await store.load());
    } catch (error) {
      logger.warn('scrub.state-not-read', { error: describeError(error) });
    }
    this.#before = { found: this.#state.found, mended: this.#state.mended };
    this.#startedMs = clock.monotonicMs();
    this.#savedMs = this.#startedMs;
    this.#isStarted = true;
    this.#wait(0);
  }

  /** Begins now; goes on where one is under way. */
  startNow(): void {
    if (this.#state.startedAtMs === undefined) this.#begin();
    if (this.#isStarted && this.#working === undefined) this.#wait(0);
  }

  status(): ScrubStatus {
    const { startedAtMs, lastCompletedAtMs } = this.#state;
    const areas = this.#options.areas();
    const totalBytes = areas.reduce((sum, area) => sum + area.totalBytes, 0);
    const doneBytes = areas.reduce((sum, area) => sum + this.#doneBytesOf(area), 0);
    return { startedAtMs, lastCompletedAtMs, totalBytes, doneBytes, ...this.#counts() };
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel?.();
    await this.#working;
    if (this.#isStarted) await this.#save();
  }

  #counts(): { found: number; mended: number } {
    const { found, mended } = this.#options.damage();
    return { found: this.#before.found + found, mended: this.#before.mended + mended };
  }

  #doneBytesOf(area: ScrubArea): number {
    if (this.#state.startedAtMs === undefined) return 0;
    if (this.#state.done.includes(area.name)) return area.totalBytes;
    if (this.#state.area !== area.name) return 0;
    return Math.round(area.totalBytes * Math.min(1, area.fractionAt(this.#state.cursor)));
  }

  #wait(delayMs: number): void {
    if (this.#isStopped) return;
    this.#cancel?.();
    this.#cancel = this.#options.timers.setTimer(delayMs, () => this.#turn());
  }

  #turn(): void {
    if (this.#working !== undefined) return;
    if (this.#state.startedAtMs === undefined && this.#isDue()) this.#begin();
    if (this.#state.startedAtMs === undefined) {
      this.#wait(SCRUB_LOOK_MS);
      return;
    }
    this.#working = this.#step().then((delayMs) => {
      this.#working = undefined;
      this.#wait(delayMs);
    });
  }

  #isDue(): boolean {
    const { clock } = this.#options;
    const { lastCompletedAtMs } = this.#state;
    if (lastCompletedAtMs === undefined) return clock.monotonicMs() - this.#startedMs >= SCRUB_FIRST_MS;
    const sinceMs = clock.wallMs() - lastCompletedAtMs;
    // A clock that was set back must not put it off for ever.
    return sinceMs >= SCRUB_EVERY_MS || sinceMs < 0;
  }

  #begin(): void {
    const { logger, clock } = this.#options;
    logger.info('scrub.started');
    const startedAtMs = clock.wallMs();
    this.#state = { ...this.#state, startedAtMs, done: [], area: undefined, cursor: 0 };
  }

  /** @returns how long to wait before the next */
  async #step(): Promise<number> {
    const { areas, clock, counters, logger } = this.#options;
    const { done } = this.#state;
    const all = areas();
    const area =
      all.find(({ name }) => name === this.#state.area && !done.includes(name)) ??
      all.find(({ name }) => !done.includes(name));
    if (area === undefined) return this.#complete();
    const cursor = area.name === this.#state.area ? this.#state.cursor : 0;
    let part: ScrubbedPart;
    try {
      part = await area.readPart(cursor, SCRUB_PART_BYTES);
    } catch (error) {
      counters.add('scrub.failed');
      logger.warn('scrub.area-failed', { area: area.name, error: describeError(error) });
      part = { next: undefined, readBytes: 0 };
    }
    counters.add('scrub.bytes', part.readBytes);
    if (part.next === undefined) {
      this.#state = { ...this.#state, done: [...done, area.name], area: undefined, cursor: 0 };
    } else {
      this.#state = { ...this.#state, area: area.name, cursor: part.next };
    }
    if (clock.monotonicMs() - this.#savedMs >= SCRUB_SAVE_MS) await this.#save();
    return this.#pauseMs(part.readBytes);
  }

  #pauseMs(readBytes: number): number {
    const activity = this.#options.activity();
    const rate = activity === this.#activity ? SCRUB_BYTES_PER_S : SCRUB_BUSY_BYTES_PER_S;
    this.#activity = activity;
    return (readBytes / rate) * 1000 * (this.#options.readers ?? 1);
  }

  async #complete(): Promise<number> {
    const { clock, logger, counters } = this.#options;
    this.#state = {
      ...this.#state,
      startedAtMs: undefined,
      done: [],
      area: undefined,
      cursor: 0,
      lastCompletedAtMs: clock.wallMs(),
    };
    counters.add('scrub.completed');
    logger.info('scrub.completed', { ...this.#counts() });
    await this.#save();
    return SCRUB_LOOK_MS;
  }

  async #save(): Promise<void> {
    const { store, clock, logger } = this.#options;
    this.#savedMs = clock.monotonicMs();
    try {
      await store.save(encodeScrubState({ ...this.#state, ...this.#counts() }));
    } catch (error) {
      // It is only remembered for less to be read again.
      logger.warn('scrub.state-not-saved', { error: describeError(error) });
    }
  }
}
