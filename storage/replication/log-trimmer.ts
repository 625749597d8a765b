import type { LunTable } from '../lun/lun-table.ts';
import type { LogView } from './core.ts';
import { COMPACT_SLACK_BYTES, TRIM_BUSY_CHECK_MS, TRIM_CHECK_MS, TRIM_GROWTH_BYTES } from './limits.ts';

export interface TrimBounds {
  /** What the log may be longer than its live blocks ask for before it is compacted. */
  readonly slackBytes?: number;
  /** How long the log is kept for a member that was catching up and is out of reach. */
  readonly holdMs?: number;
  /** How many records from the end a member counts as one that keeps up. */
  readonly nearRecords?: number;
  /** Growth of the log that makes a checkpoint of the index worthwhile. */
  readonly checkpointBytes?: number;
  /** Between two looks. */
  readonly checkMs: number;
  /** The same where the log has grown by so much since the last one; default checkMs. */
  readonly busyCheckMs?: number;
  /** Growth of the log that makes a look worthwhile. */
  readonly growthBytes: number;
}

export const USUAL_TRIM_BOUNDS: TrimBounds = {
  checkMs: TRIM_CHECK_MS,
  busyCheckMs: TRIM_BUSY_CHECK_MS,
  growthBytes: TRIM_GROWTH_BYTES,
  slackBytes: COMPACT_SLACK_BYTES,
};

/** Decides when the head of the log, in which nothing is in use any more, can go. */
export class LogTrimmer {
  readonly #table: LunTable;
  readonly #view: LogView;
  readonly #bounds: TrimBounds;
  #nextCheckMs = 0;
  #nextBusyCheckMs = 0;
  /** Since the head was last let go of. */
  #appendedBytes = 0;
  /** Since the last look. */
  #grownBytes = 0;
  /** Reads are counted by turn, so that a trim can wait for those that began before it. */
  #turn = 0;
  readonly #reading = new Map<number, number>();
  readonly #onReadEnd: (() => void)[] = [];

  constructor(table: LunTable, view: LogView, bounds: TrimBounds) {
    this.#bounds = bounds;
    this.#table = table;
    this.#view = view;
  }

  readBegins(): () => void {
    const turn = this.#turn;
    this.#reading.set(turn, (this.#reading.get(turn) ?? 0) + 1);
    return () => {
      const left = (this.#reading.get(turn) ?? 0) - 1;
      if (left > 0) this.#reading.set(turn, left);
      else this.#reading.delete(turn);
      for (const resolve of this.#onReadEnd.splice(0)) resolve();
    };
  }

  /** Resolves when some read ends. */
  nextReadEnd(): Promise<void> {
    return new Promise((resolve) => this.#onReadEnd.push(resolve));
  }

  grew(lengthBytes: number): void {
    this.#appendedBytes += lengthBytes;
    this.#grownBytes += lengthBytes;
  }

  /** Something was given up: a look may be worthwhile whatever has been appended since the last one. */
  wake(): void {
    this.#appendedBytes = Number.POSITIVE_INFINITY;
    this.#nextCheckMs = 0;
  }

  /**
   * Where the log could begin now; undefined when that is not worth a look or gains nothing.
   * @param keepFrom records from here on are still being sent to another member
   */
  propose(nowMs: number, keepFrom: number): number | undefined {
    const { checkMs, busyCheckMs = checkMs, growthBytes } = this.#bounds;
    if (this.#appendedBytes < growthBytes) return undefined;
    const isBusy = this.#grownBytes >= growthBytes && nowMs >= this.#nextBusyCheckMs;
    if (!isBusy && nowMs < this.#nextCheckMs) return undefined;
    this.#nextCheckMs = nowMs + checkMs;
    this.#nextBusyCheckMs = nowMs + busyCheckMs;
    this.#grownBytes = 0;
    // Until all that is committed has been applied, older blocks may only seem to be in use.
    if (this.#table.appliedIndex < this.#view.commitIndex) return undefined;
    const index = Math.min(this.#table.firstNeededIndex(), this.#view.commitIndex, keepFrom);
    if (index <= this.#view.baseIndex) return undefined;
    this.#appendedBytes = 0;
    return index;
  }

  /** Begins a turn; `isClear` then says whether all reads of earlier ones have ended. */
  beginTurn(): () => boolean {
    const turn = ++this.#turn;
    return () => Array.from(this.#reading.keys()).every((begun) => begun >= turn);
  }
}
