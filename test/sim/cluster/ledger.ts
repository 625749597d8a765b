import type { Proposal } from '../../../cluster/peer-message.ts';
import type { Message } from '../../../cluster/raft/index.ts';
import type { RaftRecord } from '../../../cluster/raft-records.ts';
import { proposalOf, type RaftView, type SeenEntry, seen } from './raft-view.ts';
import { describeVoters, isQuorum, VoterHistory } from './voter-history.ts';

/** What the ledger must be able to see of a node. */
export interface LedgerNode {
  readonly nodeId: string;
  readonly raftId: number;
  readonly written: RaftView;
  readonly durable: RaftView;
  /** Its log was damaged and set aside, so that it knows less than it did. */
  readonly hasForgotten: boolean;
  /** How far its running process has applied the log. */
  readonly appliedIndex: number;
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
  /** The log begins after this. */
  readonly baseIndex: number;
  /** From there on, without a gap. */
  readonly #committed: SeenEntry[] = [];
  readonly #voters: VoterHistory;
  /** The term to whose leader each proposal was handed, as far as that was to be seen. */
  readonly #handedIn = new Map<string, number>();
  /** Where each proposal was committed. */
  readonly #proposals = new Map<string, number>();
  /** By position in the log. */
  readonly #states = new Map<number, { readonly digest: number; readonly nodeId: string }>();
  /** Where each state was there last. */
  readonly #positions = new Map<number, number>();

  /**
   * @param firstVoters Raft ids of the members with which the log begins
   * @param baseIndex what comes before its first entry
   */
  constructor(
    firstVoters: Iterable<number>,
    nodes: () => readonly LedgerNode[],
    fail: (what: string) => void,
    baseIndex = 0,
  ) {
    this.baseIndex = baseIndex;
    this.#voters = new VoterHistory(firstVoters, baseIndex);
    this.#nodes = nodes;
    this.#fail = fail;
  }

  get committedIndex(): number {
    return this.baseIndex + this.#committed.length;
  }

  #at(index: number): SeenEntry | undefined {
    return this.#committed[index - this.baseIndex - 1];
  }

  get committedCount(): number {
    return this.#committed.length;
  }

  get leadersSeen(): number {
    return this.#leaders.size;
  }

  /** In any configuration there has been, or any half of one. */
  get fewestVoters(): number {
    return this.#voters.fewest;
  }

  get changesSeen(): { readonly all: number; readonly joint: number } {
    return { all: this.#voters.changeCount, joint: this.#voters.jointCount };
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

  /**
   * A node has come to lead: a quorum has voted for it, of each half of a joint configuration.
   * @param appliedBefore how far it had applied the log when it was looked at last
   */
  elected(node: LedgerNode, term: number, appliedBefore: number): void {
    const voted = this.#nodes().filter((n) =>
      n === node
        ? n.durable.term === term && n.durable.vote === n.raftId
        : this.#votes.get(`${n.nodeId} ${term}`) === node.raftId,
    );
    const granted = new Set(voted.map((n) => n.raftId));
    const possible = this.#voters.between(appliedBefore, node.appliedIndex);
    if (possible.some((voters) => isQuorum(voters, granted))) return;
    this.#fail(
      `election safety: ${node.nodeId} leads in term ${term} with the votes of ${[...granted].join(',')}; ` +
        `the voters are ${possible.map(describeVoters).join(' or ')}`,
    );
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

  /**
   * A node that was removed ends for good. It has no vote any more, and a majority of those who have one knows that, also
   * after a loss of power: else those that stay could come to count on it again.
   */
  leaves({ nodeId, raftId }: LedgerNode): void {
    if (this.#voters.votes(raftId)) this.#fail(`votes: ${nodeId} leaves the cluster while it has a vote`);
    const lost = this.#voters.lostVote(raftId);
    if (lost === undefined) return;
    const knowing = this.#nodes().filter((n) => n.hasForgotten || n.durable.commit >= lost.index);
    if (isQuorum(lost.voters, new Set(knowing.map((n) => n.raftId)))) return;
    this.#fail(
      `votes: ${nodeId} leaves the cluster, and that it has no vote since ${lost.index} is known for good to ` +
        `${knowing.map((n) => n.raftId).join(',')} only; the voters are ${describeVoters(lost.voters)}`,
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
    let changeBefore = before.lastChangeAfter(node.appliedIndex);
    for (const entry of record.entries.map(seen)) {
      if (entry.change !== undefined) {
        this.#changeWritten(node, entry, changeBefore);
        changeBefore = entry;
      }
      this.#entryWritten(node, entry, termBefore);
      termBefore = entry.term;
    }
  }

  /** Nobody proposes a change of members before the one in front of it has been applied (dissertation §4.1). */
  #changeWritten(node: LedgerNode, entry: SeenEntry, before: SeenEntry | undefined): void {
    const isOwn =
      !this.#entries.has(`${entry.index} ${entry.term}`) && this.#leaders.get(entry.term) === node.nodeId;
    if (!isOwn || before === undefined || before.index >= entry.index || before.index <= node.appliedIndex)
      return;
    this.#fail(
      `membership: ${node.nodeId} changes the members by entry ${entry.index} before it has applied ` +
        `the change by entry ${before.index}`,
    );
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
    const committed = this.#at(index);
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
   * @param appliedBefore how far the leader had applied the log when it was looked at last; undefined: who decided it
   *   is not known
   */
  committedOn(node: LedgerNode, index: number, appliedBefore?: number): void {
    const { written } = node;
    for (let at = this.committedIndex + 1; at <= index; at++) {
      const entry = written.at(at);
      // A leader may be told by others before its own disk has begun to write it; then those tell us.
      if (entry === undefined) return;
      this.#committed.push(entry);
      this.#checkProposal(entry);
      if (appliedBefore !== undefined) this.#checkQuorum(node, entry, appliedBefore);
      this.#voters.committed(entry);
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
    for (
      let at = Math.max(from, this.baseIndex + 1);
      at <= Math.min(appliedIndex, this.committedIndex);
      at++
    ) {
      const own = node.written.at(at);
      const known = this.#at(at) as SeenEntry;
      if (own === undefined || (own.term === known.term && own.digest === known.digest)) continue;
      this.#fail(`state machine safety: ${node.nodeId} has applied another entry at ${at}`);
      return;
    }
  }

  /** A node hands a proposal to whoever leads in this term, and knows that no other term will have it. */
  handedOn({ term, data }: Proposal): void {
    this.#handedIn.set(proposalOf(data), term);
  }

  /** Whoever asks once is answered for one entry: a proposal is in the log once, and in the term it was made for. */
  #checkProposal({ index, term, proposal }: SeenEntry): void {
    if (proposal === undefined) return;
    const handedIn = this.#handedIn.get(proposal);
    if (handedIn !== undefined && handedIn !== term) {
      this.#fail(
        `entry ${index} of term ${term} was proposed to the leader of term ${handedIn}, and to no other`,
      );
    }
    const known = this.#proposals.get(proposal);
    if (known !== undefined)
      this.#fail(`the proposal committed as entry ${known} is committed as ${index} too`);
    this.#proposals.set(proposal, index);
  }

  #checkQuorum(node: LedgerNode, entry: SeenEntry, appliedBefore: number): void {
    const holders = this.#nodes().filter((n) => n.durable.has(entry.index, entry.term));
    const having = new Set(holders.map((n) => n.raftId));
    const possible = this.#voters.between(appliedBefore, entry.index - 1);
    if (possible.some((voters) => isQuorum(voters, having))) return;
    this.#fail(
      `${node.nodeId} takes entry ${entry.index} of term ${entry.term} for committed, and it is durable on ` +
        `${[...having].join(',')}; the voters are ${possible.map(describeVoters).join(' or ')}`,
    );
  }

  /** State machine safety: whoever has applied everything up to a position has the same state. */
  applied({ nodeId }: LedgerNode, position: number, digest: number): void {
    this.#positions.set(digest, Math.max(position, this.#positions.get(digest) ?? 0));
    const known = this.#states.get(position);
    if (known === undefined) {
      this.#states.set(position, { digest, nodeId });
    } else if (known.digest !== digest) {
      this.#fail(
        `state machine safety: ${nodeId} and ${known.nodeId} differ after applying up to ${position}`,
      );
    }
  }

  /** A backup holds what was there at one place of the log, no earlier than what was committed before it was taken. */
  isBackup(digest: number, committedBefore: number): void {
    const position = this.#positions.get(digest);
    if (position === undefined) this.#fail('a backup holds what was never there at any one time');
    else if (position < committedBefore) {
      this.#fail(`a backup holds what was there at ${position}; ${committedBefore} was committed before it`);
    }
  }

  /** How many entries that were committed a node does not have; what follows a conflict it does not have either. */
  lostWith({ written }: LedgerNode): number {
    const conflict = this.#committed.findIndex(
      ({ index, term }) => index > written.baseIndex && written.at(index)?.term !== term,
    );
    return conflict < 0 ? 0 : this.#committed.length - conflict;
  }

  /** What is recovered from a node is what all entries in its log come to, as far as that has been seen before. */
  isLeftOver(
    node: LedgerNode,
    { lastIndex, digest }: { readonly lastIndex: number; readonly digest: number },
  ): void {
    if (lastIndex !== node.written.lastIndex) {
      this.#fail(
        `recovery finds entries up to ${lastIndex} on ${node.nodeId}, which has ${node.written.lastIndex}`,
      );
    }
    const isKnown =
      lastIndex <= this.committedIndex && this.lostWith(node) === this.committedIndex - lastIndex;
    const known = isKnown ? this.#states.get(lastIndex) : undefined;
    if (known !== undefined && known.digest !== digest) {
      this.#fail(
        `what is recovered of ${node.nodeId} is not what ${known.nodeId} had after entry ${lastIndex}`,
      );
    }
  }
}
