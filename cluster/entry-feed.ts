import type { Logger } from '../base/logger.ts';
import type { LogConsumer, LogEntry, LogPosition } from './log.ts';
import { type Proposals, proposalHeader } from './proposals.ts';
import type { Entry, Snapshot } from './raft/index.ts';

/** Hands what Raft has committed to the consumer, and tells those who wait for an entry of theirs. */
export class EntryFeed {
  readonly #consumer: LogConsumer;
  readonly #proposals: Proposals;
  readonly #logger: Logger;
  #appliedIndex: number;
  #appliedTerm = 0;

  /** @param appliedIndex the consumer has all entries up to here */
  constructor(consumer: LogConsumer, proposals: Proposals, logger: Logger, appliedIndex: number) {
    this.#consumer = consumer;
    this.#proposals = proposals;
    this.#logger = logger;
    this.#appliedIndex = appliedIndex;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  apply(entries: readonly Entry[]): void {
    const given: LogEntry[] = [];
    const own: { readonly counter: bigint; readonly position: LogPosition }[] = [];
    for (const entry of entries) {
      if (!this.#hasContent(entry)) continue;
      const counter = this.#proposals.awaited(entry.data);
      if (counter !== undefined) own.push({ counter, position: entry.index });
      const bytes = entry.data.subarray(proposalHeader.sizeBytes);
      given.push({ position: entry.index, bytes, awaited: counter !== undefined });
    }
    const last = entries.at(-1);
    if (last === undefined) return;
    this.#appliedIndex = last.index;
    this.#consumer.apply(given, last.index);
    for (const { counter, position } of own) this.#proposals.applied(counter, position);
    if (last.term > this.#appliedTerm) this.#proposals.reachedTerm(last.term);
    this.#appliedTerm = Math.max(this.#appliedTerm, last.term);
  }

  /** A snapshot takes the place of all entries up to its index. */
  restore({ metadata, data }: Snapshot): void {
    this.#consumer.restore(data, metadata.index);
    this.#appliedIndex = metadata.index;
    this.#proposals.skippedTo(metadata.term);
  }

  #hasContent(entry: Entry): boolean {
    if (entry.type !== 'normal') {
      // Members are fixed; nobody proposes to change them, and who did would have no effect.
      this.#logger.error('cluster.log.membership-ignored', { index: entry.index });
      return false;
    }
    return entry.data.length >= proposalHeader.sizeBytes;
  }
}
