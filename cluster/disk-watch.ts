import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { AppendThread } from './append-thread.ts';
import { mostAdvanced, otherVoters } from './hand-on.ts';
import { DISK_RESIGN_MS, DISK_STALL_MS, MAX_OBSERVED_TICK_MS } from './limits.ts';
import { NO_NODE, type RawNode } from './raft/index.ts';

/**
 * Keeps a leader from leading on while its own disk stands still: its heartbeats would hold the others back
 * from electing one that can make progress. It first hands on to the member that has most of the log; when that
 * does not come about either, it resigns.
 *
 * Only time during which this process was running counts: after a pause, the disk may have answered long ago.
 */
export class DiskWatch {
  readonly #raw: RawNode;
  readonly #appends: Pick<AppendThread, 'underWaySinceMs'>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #lastTickMs: number | undefined;
  /** The write that is being watched, by the time at which it began. */
  #writeSinceMs: number | undefined;
  #stalledMs = 0;
  #reported = false;

  constructor(
    raw: RawNode,
    appends: Pick<AppendThread, 'underWaySinceMs'>,
    { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#raw = raw;
    this.#appends = appends;
    this.#clock = clock;
    this.#logger = logger;
  }

  tick(): void {
    this.#observe();
    if (this.#stalledMs < DISK_STALL_MS) {
      this.#reported = false;
      return;
    }
    const stalledMs = Math.round(this.#stalledMs);
    if (!this.#reported) this.#logger.error('cluster.log.stalled', { stalledMs });
    this.#reported = true;
    const status = this.#raw.status();
    const { role, leadTransferee } = status;
    if (role !== 'leader') return;
    // Where nobody else may lead, there is nobody to be held back.
    if (otherVoters(status).length === 0) return;
    if (this.#stalledMs >= DISK_RESIGN_MS) {
      this.#logger.error('cluster.log.resigned', { stalledMs });
      this.#raw.resign();
      return;
    }
    if (leadTransferee !== NO_NODE) return;
    const best = mostAdvanced(status);
    if (best !== undefined) this.#raw.transferLeader(best);
  }

  #observe(): void {
    const nowMs = this.#clock.monotonicMs();
    const passedMs = nowMs - (this.#lastTickMs ?? nowMs);
    this.#lastTickMs = nowMs;
    const sinceMs = this.#appends.underWaySinceMs;
    const isSame = sinceMs !== undefined && sinceMs === this.#writeSinceMs;
    this.#writeSinceMs = sinceMs;
    this.#stalledMs = isSame ? this.#stalledMs + Math.min(passedMs, MAX_OBSERVED_TICK_MS) : 0;
  }
}
