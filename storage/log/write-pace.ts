import type { Clock } from '../../base/clock.ts';
import { AT_ONCE_PAUSE_MS, MAX_AT_ONCE_BYTES, SLOW_AT_ONCE_WRITE_MS, SLOW_DATA_SYNC_MS } from './limits.ts';

/**
 * Whether a write is carried out at once, on the thread that asks for it. Into the page cache that takes a few
 * microseconds, a tenth of handing it to a thread pool and hearing back. But a system that waits for its disk
 * can hold up such a write, and with it everything else on the thread: so none is done at once while a sync takes
 * long, after one that did, and for a while after a write that was held up. Pure.
 */
export class WritePace {
  readonly #clock: Clock;
  /** When each sync under way was begun. */
  readonly #syncs = new Set<{ readonly sinceMs: number }>();
  #lastSyncWasSlow = false;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param sizeBytes of the write that is to be done */
  mayWriteAtOnce(sizeBytes: number): boolean {
    if (sizeBytes > MAX_AT_ONCE_BYTES || this.#lastSyncWasSlow) return false;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#pausedUntilMs) return false;
    for (const { sinceMs } of this.#syncs) if (nowMs - sinceMs > SLOW_DATA_SYNC_MS) return false;
    return true;
  }

  /** @param sinceMs when a write that was carried out at once had been begun, on the same clock */
  wroteAtOnce(sinceMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - sinceMs > SLOW_AT_ONCE_WRITE_MS) this.#pausedUntilMs = nowMs + AT_ONCE_PAUSE_MS;
  }

  /** @returns to be called when the sync that begins now has ended, whatever came of it */
  syncBegins(): () => void {
    const sync = { sinceMs: this.#clock.monotonicMs() };
    this.#syncs.add(sync);
    return () => {
      this.#syncs.delete(sync);
      this.#lastSyncWasSlow = this.#clock.monotonicMs() - sync.sinceMs > SLOW_DATA_SYNC_MS;
    };
  }
}
