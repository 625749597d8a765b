import type { Clock } from '../../base/clock.ts';
import {
  AFTER_SLOW_SYNC_MS,
  AT_ONCE_PAUSE_MS,
  HELD_UP_LEAK,
  MAX_AT_ONCE_BYTES,
  MAX_HELD_UP_MS,
  SLOW_AT_ONCE_WRITE_MS,
  SLOW_DATA_SYNC_MS,
} from './limits.ts';

/**
 * Whether a write is carried out at once, on the thread that asks for it. Into the page cache that takes a few
 * microseconds, a tenth of handing it to a thread pool and hearing back. But a system that waits for its disk
 * can hold up such a write, and with it everything else on the thread: so none is done at once while a sync takes
 * long, for a little after one that did, and for a while once writes were held up for too much of the thread's time (a thread that
 * merely shares its processor is held up now and then as well). Pure.
 */
export class WritePace {
  readonly #clock: Clock;
  /** When each sync under way was begun. */
  readonly #syncs = new Set<{ readonly sinceMs: number }>();
  /** Until then the last sync that took long says something about the disk; a quick one says better. */
  #slowSyncUntilMs = Number.NEGATIVE_INFINITY;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  /** How long writes have been held up of late: a bucket that leaks. */
  #heldUpMs = 0;
  #heldUpAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param sizeBytes of the write that is to be done */
  mayWriteAtOnce(sizeBytes: number): boolean {
    if (sizeBytes > MAX_AT_ONCE_BYTES) return false;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#pausedUntilMs || nowMs < this.#slowSyncUntilMs) return false;
    for (const { sinceMs } of this.#syncs) if (nowMs - sinceMs > SLOW_DATA_SYNC_MS) return false;
    return true;
  }

  /** @param sinceMs when a write that was carried out at once had been begun, on the same clock */
  wroteAtOnce(sinceMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const tookMs = nowMs - sinceMs;
    if (tookMs <= SLOW_AT_ONCE_WRITE_MS) return;
    const forgottenMs = (sinceMs - this.#heldUpAtMs) * HELD_UP_LEAK;
    this.#heldUpMs = Math.max(0, this.#heldUpMs - forgottenMs) + tookMs;
    this.#heldUpAtMs = nowMs;
    if (this.#heldUpMs < MAX_HELD_UP_MS) return;
    this.#heldUpMs = 0;
    this.#pausedUntilMs = nowMs + AT_ONCE_PAUSE_MS;
  }

  /** @returns to be called when the sync that begins now has ended, whatever came of it */
  syncBegins(): () => void {
    const sync = { sinceMs: this.#clock.monotonicMs() };
    this.#syncs.add(sync);
    return () => {
      this.#syncs.delete(sync);
      const nowMs = this.#clock.monotonicMs();
      const wasSlow = nowMs - sync.sinceMs > SLOW_DATA_SYNC_MS;
      this.#slowSyncUntilMs = wasSlow ? nowMs + AFTER_SLOW_SYNC_MS : Number.NEGATIVE_INFINITY;
    };
  }
}
