import type { Message } from '../../../cluster/raft/index.ts';
import type { RaftRecord } from '../../../cluster/raft-records.ts';
import { type RaftView, type SeenEntry, seen } from './raft-view.ts';

/** What the ledger must be able to see of a node. */
export interface LedgerNode {
  readonly nodeId: string;
  readonly raftId: number;
  readonly written: RaftView;
  readonly durable: RaftView;
}

/** How many members' disks must have an entry before it is committed. */
export interface Quorum {
  readonly members: readonly string[];
  readonly size: number;
}

/**
 * What the whole cluster has promised so far, as seen from outside: who led, who voted for whom, which entries
 * are committed, what the state was at each place of the log. Every breach is reported at the event that
 * commits it. The names are those of Ongaro and Ousterhout, figure 3.
 */
export class Ledger {
  readonly #fail: (what: string) => void;
  readonly #nodes: () => readonly LedgerNode[];
  /** By term. */
  readonly #leaders = new Map<number, string>();
  /** By voter and term. */
  readonly #votes = new Map<string, number>();
  /** By index and term: its content, and the term of the entry before it. */
  readonly #entries = new Map<string, { readonly digest: number; readonly termBefore: number | undefined }>();
  /** By index, from 1. */
  readonly #committed: SeenEntry[] = [];
  /** By position in the log. */
  readonly #states = new Map<number, { readonly digest: number; readonly nodeId: string }>();

  constructor(nodes: () => readonly LedgerNode[], fail: (what: string) => void) {
    this.#nodes = nodes;
    this.#fail = fail;
  }

  get committedIndex(): number {
    return this.#committed.length;
  }

  get leadersSeen(): number {
    return this.#leaders.size;
  }

  /** Election safety: at most one leader in a term. */
  leads(node: LedgerNode, term: number): void {
    const known = this.#leaders.get(term);
    if (known === node.nodeId) return;
    if (known !== undefined) {
      this.#fail(`election safety: ${known} and ${node.nodeId} both lead in term ${term}`);
      return;
    }
    this.#leaders.set(term, node.nodeId);
  }

  /** Leader completeness: whoever leads has all that was committed in earlier terms. */
  isComplete(node: LedgerNode, term: number, lastIndex: number): void {
    const last = this.#committed.findLast((entry) => entry.term < term);
    if (last === undefined || lastIndex >= last.index) return;
    this.#fail(
      `leader completeness: ${node.nodeId} leads in term ${term} with a log that ends at ${lastIndex}, and ` +
        `entry ${last.index} of term ${last.term} is committed`,
    );
  }

  /** A message leaves a node: what it promises must be on that node's disk. */
  sent(node: LedgerNode, message: Message): void {
    const { type, term = 0, to, index = 0, reject = false } = message;
    if (type === 'MsgApp' || type === 'MsgHeartbeat' || type === 'MsgSnap') this.leads(node, term);
    else if (type === 'MsgVoteResp' && !reject) this.#voted(node, term, to);
    else if (type === 'MsgAppResp' && !reject) this.#acknowledged(node, term, index);
  }

  #voted(node: LedgerNode, term: number, candidate: number): void {
    const key = `${node.nodeId} ${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) {
      this.#fail(`${node.nodeId} votes for ${before} and for ${candidate} in term ${term}`);
    }
    this.#votes.set(key, candidate);
    const { durable } = node;
    if (durable.term < term || (durable.term === term && durable.vote !== candidate)) {
      this.#fail(`${node.nodeId} votes for ${candidate} in term ${term}, and its disk does not know`);
    }
  }

  #acknowledged({ nodeId, durable }: LedgerNode, term: number, index: number): void {
    if (durable.term < term) {
      this.#fail(`${nodeId} answers in term ${term} with term ${durable.term} on its disk`);
    }
    // In a later term another leader may have replaced what was promised in this one.
    if (durable.term === term && durable.lastIndex < index) {
      this.#fail(`${nodeId} acknowledges entry ${index} with its disk at ${durable.lastIndex}`);
    }
  }

  /** A record goes to a node's disk. */
  written(node: LedgerNode, record: RaftRecord, before: RaftView): void {
    if (record.kind === 'hardState' || record.kind === 'snapshot' || record.kind === 'compacted') {
      const { term, vote } = record.hardState;
      if (term < before.term) this.#fail(`the term of ${node.nodeId} falls from ${before.term} to ${term}`);
      if (term === before.term && before.vote !== 0 && vote !== before.vote) {
        this.#fail(`${node.nodeId} changes its vote in term ${term} from ${before.vote} to ${vote}`);
      }
    }
    if (record.kind !== 'entries') return;
    let termBefore = before.termAt((record.entries[0]?.index ?? 1) - 1);
    for (const entry of record.entries.map(seen)) {
      this.#entryWritten(node, entry, termBefore);
      termBefore = entry.term;
    }
  }

  /** Log matching: the same index and term mean the same entry, and the same one before it. */
  #entryWritten(node: LedgerNode, entry: SeenEntry, termBefore: number | undefined): void {
    const { index, term, digest } = entry;
    const key = `${index} ${term}`;
    const known = this.#entries.get(key);
    if (known === undefined) {
      this.#entries.set(key, { digest, termBefore });
    } else {
      const sameBefore =
        known.termBefore === undefined || termBefore === undefined || known.termBefore === termBefore;
      if (known.digest !== digest || !sameBefore) {
        this.#fail(`log matching: entry ${index} of term ${term} differs on ${node.nodeId}`);
      }
      if (known.termBefore === undefined) this.#entries.set(key, { digest, termBefore });
    }
    const committed = this.#committed[index - 1];
    if (committed === undefined) return;
    if (term > committed.term || (term === committed.term && digest !== committed.digest)) {
      this.#fail(
        `leader completeness: ${node.nodeId} gets entry ${index} of term ${term} in place of the committed ` +
          `one of term ${committed.term}`,
      );
    }
  }

  /**
   * A leader takes everything up to `index` for committed, or a node has applied it.
   * @param voters those of the leader's configuration; undefined: who decided it is not known
   */
  committedOn(node: LedgerNode, index: number, voters?: Quorum): void {
    const { written } = node;
    for (let at = this.#committed.length + 1; at <= index; at++) {
      const entry = written.at(at);
      // A leader may be told by others before its own disk has begun to write it; then those tell us.
      if (entry === undefined) return;
      this.#committed.push(entry);
      if (voters !== undefined) this.#checkQuorum(node, entry, voters);
    }
  }

  /** A leader commits by counting only entries of its own term (Raft §5.4.2). */
  counted(node: LedgerNode, term: number, index: number): void {
    const entry = node.written.at(index);
    if (entry === undefined || entry.term === term) return;
    this.#fail(
      `${node.nodeId}, leader of term ${term}, commits entry ${index} of term ${entry.term} by counting`,
    );
  }

  /** What a node has applied must be what was committed. */
  agrees(node: LedgerNode, from: number, appliedIndex: number): void {
    for (let at = from; at <= Math.min(appliedIndex, this.#committed.length); at++) {
      const own = node.written.at(at);
      const known = this.#committed[at - 1] as SeenEntry;
      if (own === undefined || (own.term === known.term && own.digest === known.digest)) continue;
      this.#fail(`state machine safety: ${node.nodeId} has applied another entry at ${at}`);
      return;
    }
  }

  #checkQuorum(node: LedgerNode, entry: SeenEntry, required: Quorum): void {
    const holders = this.#nodes().filter(
      (n) => required.members.includes(n.nodeId) && n.durable.has(entry.index, entry.term),
    );
    if (holders.length >= required.size) return;
    this.#fail(
      `${node.nodeId} takes entry ${entry.index} of term ${entry.term} for committed, and it is durable on ` +
        `${holders.length} of ${required.members.length} members`,
    );
  }

  /** State machine safety: whoever has applied everything up to a position has the same state. */
  applied({ nodeId }: LedgerNode, position: number, digest: number): void {
    const known = this.#states.get(position);
    if (known === undefined) {
      this.#states.set(position, { digest, nodeId });
    } else if (known.digest !== digest) {
      this.#fail(
        `state machine safety: ${nodeId} and ${known.nodeId} differ after applying up to ${position}`,
      );
    }
  }
}
