import { DISK_LATENCY_SAMPLES } from './limits.ts';

/** How long this node's own disk took lately to make what it was given durable. */
export interface DiskLatency {
  /** Writes looked at: the last ones that took an fsync, at most DISK_LATENCY_SAMPLES. */
  readonly samples: number;
  /** Append and fsync together, nearest rank; undefined before the first such write. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** How long the write under way has taken so far; 0: none is under way. */
  readonly underWayMs: number;
}

/** The durations of the last writes, oldest overwritten first. */
export class LatencyWindow {
  readonly #lastMs: number[] = [];
  #next = 0;

  add(tookMs: number): void {
    this.#lastMs[this.#next] = tookMs;
    this.#next = (this.#next + 1) % DISK_LATENCY_SAMPLES;
  }

  summary(underWayMs: number): DiskLatency {
    const sorted = [...this.#lastMs].sort((a, b) => a - b);
    const rank = (part: number): number | undefined => sorted[Math.ceil(part * sorted.length) - 1];
    return { samples: sorted.length, p50Ms: rank(0.5), p99Ms: rank(0.99), underWayMs };
  }
}
