import type { Logger } from '../base/logger.ts';
import type { AppendThread } from './append-thread.ts';
import { DISK_STALL_MS } from './limits.ts';
import { NO_NODE, type RawNode } from './raft/index.ts';

/** A leader whose disk stands still hands on to the member that has most of the log. */
export class DiskWatch {
  readonly #raw: RawNode;
  readonly #appends: AppendThread;
  readonly #logger: Logger;
  #reported = false;

  constructor(raw: RawNode, appends: AppendThread, logger: Logger) {
    this.#raw = raw;
    this.#appends = appends;
    this.#logger = logger;
  }

  tick(): void {
    const stalledMs = this.#appends.stalledMs();
    if (stalledMs < DISK_STALL_MS) {
      this.#reported = false;
      return;
    }
    if (!this.#reported) this.#logger.error('cluster.log.stalled', { stalledMs });
    this.#reported = true;
    const { id, role, progress, leadTransferee } = this.#raw.status();
    if (role !== 'leader' || leadTransferee !== NO_NODE) return;
    const best = progress.filter((p) => p.id !== id && p.recentActive).sort((a, b) => b.match - a.match)[0];
    if (best !== undefined) this.#raw.transferLeader(best.id);
  }
}
