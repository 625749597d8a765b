import type { PeerTransport } from '../base/peer-transport.ts';
import { MAX_COMMAND_BYTES, MAX_ENTRIES_PER_MESSAGE_BYTES } from './limits.ts';
import { encodeDropped, encodeProposals, type Proposal } from './peer-message.ts';
import { type Proposals, proposalHeader } from './proposals.ts';
import type { RawNode } from './raft/index.ts';

/** A proposal that this node's own log is to take. */
export interface ProposalToTake extends Proposal {
  /** The node that waits for it; undefined: this one. */
  readonly from: string | undefined;
}

/**
 * Gathers the proposals of one turn of the event loop, so that however many come they are one message to the
 * leader, and on the leader one message to each follower and one write.
 */
export class ProposalIntake {
  readonly #transport: PeerTransport;
  readonly #own: Proposals;
  #toTake: ProposalToTake[] = [];
  readonly #toForward = new Map<string, Proposal[]>();

  /** @param own where the proposals of this node wait for their outcome */
  constructor(transport: PeerTransport, own: Proposals) {
    this.#transport = transport;
    this.#own = own;
  }

  take(proposal: ProposalToTake): void {
    this.#toTake.push(proposal);
  }

  forward(leader: string, proposal: Proposal): void {
    const waiting = this.#toForward.get(leader);
    if (waiting === undefined) this.#toForward.set(leader, [proposal]);
    else waiting.push(proposal);
  }

  /** Hands on what has been gathered. */
  flush(raw: RawNode): void {
    if (this.#toTake.length > 0) this.#propose(raw);
    if (this.#toForward.size === 0) return;
    for (const [leader, proposals] of this.#toForward) this.#send(leader, proposals);
    this.#toForward.clear();
  }

  #propose(raw: RawNode): void {
    const all = this.#toTake;
    this.#toTake = [];
    const timely: ProposalToTake[] = [];
    for (const proposal of all) {
      if (proposal.data.length > proposalHeader.sizeBytes + MAX_COMMAND_BYTES) {
        this.#refuse(proposal, 'it is too large');
      } else if (raw.role === 'leader' && raw.term === proposal.term) {
        timely.push(proposal);
      } else {
        this.#refuse(proposal, 'this node does not lead in that term');
      }
    }
    if (timely.length === 0) return;
    if (raw.proposeAll(timely.map(({ data }) => data)).outcome === 'accepted') return;
    // Together they may be too much, where some of them are not.
    for (const proposal of timely) {
      const proposed = raw.propose(proposal.data);
      if (proposed.outcome === 'dropped')
        this.#refuse(proposal, `the leader took no change: ${proposed.reason}`);
    }
  }

  #send(leader: string, proposals: readonly Proposal[]): void {
    for (const group of inMessages(proposals)) {
      if (this.#transport.send(leader, encodeProposals(group))) continue;
      for (const proposal of group) {
        const reason = `the leader, node ${leader}, cannot be reached from this node`;
        this.#refuse({ ...proposal, from: undefined }, reason);
      }
    }
  }

  /** It was not taken and never will be. */
  #refuse({ from, counter }: ProposalToTake, reason: string): void {
    if (from === undefined) this.#own.fail(counter, 'unavailable', 'no-leader', reason);
    else this.#transport.send(from, encodeDropped(counter, reason));
  }
}

/** Splits proposals into groups of at most MAX_ENTRIES_PER_MESSAGE_BYTES, or of one. */
function inMessages(proposals: readonly Proposal[]): Proposal[][] {
  const groups: Proposal[][] = [];
  let sizeBytes = Number.POSITIVE_INFINITY;
  for (const proposal of proposals) {
    if (sizeBytes + proposal.data.length > MAX_ENTRIES_PER_MESSAGE_BYTES) {
      groups.push([]);
      sizeBytes = 0;
    }
    groups.at(-1)?.push(proposal);
    sizeBytes += proposal.data.length;
  }
  return groups;
}
