import type { Counters } from '../base/counters.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { LogPosition } from './log.ts';
import type { RaftStore } from './raft-store.ts';
import type { SnapshotSender } from './snapshot-sender.ts';

/** Cuts the cluster log where it has become long, one cut at a time. */
export class Compaction {
  readonly #options: { readonly logger: Logger; readonly counters: Counters };
  #underWay: Promise<void> | undefined;

  constructor(options: { readonly logger: Logger; readonly counters: Counters }) {
    this.#options = options;
  }

  /**
   * @param position what comes before is in the applied state, durably
   * @param sender whoever is being sent a snapshot needs what follows it
   */
  trim(store: RaftStore, position: LogPosition, { lowestIndex }: SnapshotSender): void {
    if (this.#underWay !== undefined || !store.isLong) return;
    this.#underWay = this.#compact(store, position, lowestIndex).finally(() => {
      this.#underWay = undefined;
    });
  }

  /** Resolves once nothing is under way. */
  async ended(): Promise<void> {
    await this.#underWay;
  }

  async #compact(store: RaftStore, position: LogPosition, keepAfter: LogPosition): Promise<void> {
    try {
      await store.compact(position, keepAfter);
      this.#options.counters.add('cluster.log.compacted');
    } catch (error) {
      // A failed device is found out by the next write as well; a full one may be given room.
      this.#options.logger.error('cluster.log.compaction-failed', { message: describeError(error) });
    }
  }
}
