import type { Timers } from '../../base/clock.ts';
import { InvariantError } from '../../base/errors.ts';
import { type AppendedRecords, LogFullError, type RecordLog } from '../../base/record-log.ts';
import type { LoggedRecord } from '../lun/log-record.ts';
import { FULL_RETRY_MS, MAX_APPEND_RECORDS, WINDOW_BYTES } from './limits.ts';

export interface LogWriterEvents {
  /** Before `appended`: where each record came to lie. */
  onPlaced(index: number, position: number, logged: LoggedRecord): void;
  /** @param appendedIndex records below are in the log; those of a call under way are not */
  onAppended(cut: number, appendedIndex: number): void;
  /** No space: neither those records nor any waiting behind them were added. */
  onFull(cut: number): void;
  onSynced(cut: number): void;
  /** There is no room even for cutting the log; it is tried again after a while. */
  onCutFull(): void;
  /** The device failed. Final. */
  onFailure(error: unknown): void;
}

/**
 * Appends in order, one call at a time: what arrives during a call goes out together in the next. Were two
 * calls under way, the second could succeed after the first found no space, and records would lie under
 * wrong numbers. Whatever the log can append at once is appended before append() returns.
 */
export class LogWriter {
  readonly #log: RecordLog;
  readonly #events: LogWriterEvents;
  readonly #timers: Timers;
  #waiting: LoggedRecord[] = [];
  /** The number the first of those waiting must get. */
  #waitingIndex = 0;
  #cut = 0;
  #appending: Promise<void> | undefined;
  #syncing = false;
  /** Records below, by their present numbers, are covered by the sync under way. */
  #syncingUntil = 0;
  #reportedDurable = 0;
  #syncAgain = false;
  #stopped = false;
  #endPause: () => void = () => {};

  constructor(log: RecordLog, events: LogWriterEvents, timers: Timers) {
    this.#log = log;
    this.#events = events;
    this.#timers = timers;
    log.onFailure?.((failure) => this.#fail(failure));
  }

  /** @param firstIndex the number the first of them must get */
  append(cut: number, firstIndex: number, records: readonly LoggedRecord[]): void {
    this.#cut = cut;
    if (this.#waiting.length === 0) this.#waitingIndex = firstIndex;
    if (firstIndex !== this.#waitingIndex + this.#waiting.length) {
      throw new InvariantError(`record ${firstIndex} does not follow those that wait`);
    }
    for (const record of records) this.#waiting.push(record);
    this.#next();
  }

  #next(): void {
    if (this.#appending !== undefined || this.#waiting.length === 0 || this.#stopped) return;
    let count = 0;
    let lengthBytes = 0;
    while (count < this.#waiting.length && count < MAX_APPEND_RECORDS && lengthBytes < WINDOW_BYTES) {
      lengthBytes += (this.#waiting[count++] as LoggedRecord).payload.length;
    }
    const { nextIndex } = this.#log;
    if (nextIndex !== this.#waitingIndex) {
      throw new InvariantError(`record ${this.#waitingIndex} would be number ${nextIndex}`);
    }
    this.#waitingIndex += count;
    const batch = this.#waiting.splice(0, count);
    const cut = this.#cut;
    const payloads = batch.map((logged) => logged.payload);
    const checksums = batch.map((logged) => logged.checksum);
    // Where more waits, the log is not keeping up: nothing is gained by waiting for it here.
    const appended = this.#waiting.length === 0 ? this.#appendNow(payloads, checksums, cut) : undefined;
    if (appended !== undefined) this.#appended(batch, appended, cut);
    else if (!this.#stopped) this.#appending = this.#append(batch, payloads, checksums, cut);
  }

  #appendNow(
    payloads: readonly Uint8Array[],
    checksums: readonly (number | undefined)[],
    cut: number,
  ): AppendedRecords | undefined {
    try {
      return this.#log.appendNow?.(payloads, checksums);
    } catch (error) {
      this.#onError(error, cut);
      return undefined;
    }
  }

  async #append(
    batch: readonly LoggedRecord[],
    payloads: readonly Uint8Array[],
    checksums: readonly (number | undefined)[],
    cut: number,
  ): Promise<void> {
    try {
      const appended = await this.#log.append(payloads, checksums);
      this.#appending = undefined;
      this.#appended(batch, appended, cut);
    } catch (error) {
      this.#appending = undefined;
      this.#onError(error, cut);
    }
  }

  #appended(batch: readonly LoggedRecord[], { firstIndex, positions }: AppendedRecords, cut: number): void {
    for (let i = 0; i < batch.length; i++) {
      this.#events.onPlaced(firstIndex + i, positions[i] as number, batch[i] as LoggedRecord);
    }
    // The next batch may be in the file before #next returns, and must not be heard of before this one.
    this.#events.onAppended(cut, firstIndex + batch.length);
    // A segment that was sealed was made durable, though nobody asked for it.
    if (this.#log.durableNextIndex > this.#reportedDurable) this.#synced(cut);
    this.#next();
  }

  #onError(error: unknown, cut: number): void {
    if (this.#stopped) return;
    if (error instanceof LogFullError) {
      this.#waiting = [];
      this.#syncingUntil = 0;
      this.#events.onFull(cut);
    } else {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#events.onFailure(error);
  }

  #synced(cut: number): void {
    this.#reportedDurable = this.#log.durableNextIndex;
    this.#events.onSynced(cut);
  }

  /**
   * Makes all that has been appended durable. Calls during a sync share the next one, but for those that it covers.
   * @param untilIndex records below are wanted
   */
  sync(cut: number, untilIndex: number): void {
    this.#cut = cut;
    if (this.#stopped) return;
    if (this.#syncing) {
      if (untilIndex > this.#syncingUntil) this.#syncAgain = true;
      return;
    }
    if (this.#log.durableNextIndex >= this.#log.nextIndex) {
      this.#synced(cut);
      return;
    }
    this.#syncing = true;
    this.#syncAgain = false;
    this.#syncingUntil = this.#log.nextIndex;
    this.#log.sync().then(
      () => {
        this.#syncing = false;
        this.#synced(cut);
        if (this.#syncAgain) this.sync(this.#cut, Number.POSITIVE_INFINITY);
      },
      (error: unknown) => {
        this.#syncing = false;
        this.#onError(error, cut);
      },
    );
  }

  /** Takes off records from `fromIndex` on, and all that were waiting. Waits for space, of which it needs a little. */
  async truncate(cut: number, fromIndex: number): Promise<void> {
    await this.#settle(cut);
    if (this.#log.nextIndex > fromIndex) await this.#patiently(() => this.#log.truncateFrom(fromIndex));
    this.#numberAnew();
  }

  /** As truncate. */
  async reset(cut: number, baseIndex: number): Promise<void> {
    await this.#settle(cut);
    await this.#patiently(() => this.#log.resetTo(baseIndex));
    this.#numberAnew();
  }

  /** A sync under way tells nothing of records that are given the numbers of others. */
  #numberAnew(): void {
    this.#reportedDurable = this.#log.durableNextIndex;
    this.#syncingUntil = 0;
  }

  /**
   * Nothing else of the group goes on meanwhile, and its other members go on without this one.
   * @throws LogFullError when it is stopped while there is no space
   */
  async #patiently(change: () => Promise<void>): Promise<void> {
    for (let isFirst = true; ; isFirst = false) {
      try {
        await change();
        return;
      } catch (error) {
        if (!(error instanceof LogFullError) || this.#stopped) throw error;
        if (isFirst) this.#events.onCutFull();
        await new Promise<void>((resolve) => {
          const cancel = this.#timers.setTimer(FULL_RETRY_MS, resolve);
          this.#endPause = () => {
            cancel();
            resolve();
          };
        });
      }
    }
  }

  async #settle(cut: number): Promise<void> {
    this.#waiting = [];
    this.#cut = cut;
    while (this.#appending !== undefined) await this.#appending;
  }

  /** Nothing more is written; resolves when the last call has returned. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting = [];
    this.#endPause();
    await this.#appending;
  }
}
