import type { LogConsumer, LogEntry, LogPosition } from './log.ts';
import { type Proposals, proposalHeader } from './proposals.ts';
import type { Entry, Snapshot } from './raft/index.ts';

/** Hands what Raft has committed to the consumer, and tells those who wait for an entry of theirs. */
export class EntryFeed {
  readonly #consumer: LogConsumer;
  readonly #proposals: Proposals;
  readonly #onConfChange: (entry: Entry) => void;
  #appliedIndex: number;
  #appliedTerm = 0;

  /**
   * @param appliedIndex the consumer has all entries up to here
   * @param onConfChange given each entry that changes the configuration, in its turn
   */
  constructor(
    consumer: LogConsumer,
    proposals: Proposals,
    appliedIndex: number,
    onConfChange: (entry: Entry) => void,
  ) {
    this.#consumer = consumer;
    this.#proposals = proposals;
    this.#onConfChange = onConfChange;
    this.#appliedIndex = appliedIndex;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  apply(entries: readonly Entry[]): void {
    const given: LogEntry[] = [];
    const own: { readonly counter: bigint; readonly position: LogPosition }[] = [];
    for (const entry of entries) {
      if (entry.type !== 'normal') this.#onConfChange(entry);
      if (!hasContent(entry)) continue;
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
}

/** The first entry of a term and changes of the configuration have none. */
function hasContent(entry: Entry): boolean {
  return entry.type === 'normal' && entry.data.length >= proposalHeader.sizeBytes;
}
