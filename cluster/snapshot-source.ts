import type { Logger } from '../base/logger.ts';
import type { EntryFeed } from './entry-feed.ts';
import { MAX_SNAPSHOT_BYTES } from './limits.ts';
import type { LogConsumer } from './log.ts';
import type { ConfState, Snapshot } from './raft/index.ts';
import type { RaftStore } from './raft-store.ts';

/**
 * Makes snapshots for peers. The last one is given again as long as the log goes on from it and the members are
 * the same: a peer that was cut off in the middle of it can then go on where it was.
 */
export class SnapshotSource {
  readonly #store: RaftStore;
  readonly #consumer: LogConsumer;
  readonly #feed: EntryFeed;
  readonly #logger: Logger;
  #last: Snapshot | undefined;

  constructor(store: RaftStore, consumer: LogConsumer, feed: EntryFeed, logger: Logger) {
    this.#store = store;
    this.#consumer = consumer;
    this.#feed = feed;
    this.#logger = logger;
  }

  /** @param atLeast the index up to which everything must be in it */
  make(atLeast = 0): Snapshot | undefined {
    const index = this.#feed.appliedIndex;
    const term = this.#store.term(index);
    if (typeof term !== 'number' || index < atLeast) return undefined;
    const confState = this.#store.confStateAt(index);
    const last = this.#last;
    if (last !== undefined && last.metadata.index >= atLeast && this.#isUsable(last, confState)) return last;
    const data = this.#consumer.snapshot();
    if (data === undefined) return undefined;
    if (data.length > MAX_SNAPSHOT_BYTES) {
      this.#logger.error('cluster.snapshot.too-large', { sizeBytes: data.length, limit: MAX_SNAPSHOT_BYTES });
      return undefined;
    }
    this.#last = { metadata: { index, term, confState }, data };
    return this.#last;
  }

  #isUsable({ metadata }: Snapshot, confState: ConfState): boolean {
    const goesOn = metadata.index >= this.#store.firstIndex() - 1;
    return goesOn && JSON.stringify(metadata.confState) === JSON.stringify(confState);
  }
}
