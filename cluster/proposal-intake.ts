import type { PeerTransport } from '../base/peer-transport.ts';
import { MAX_COMMAND_BYTES, MAX_ENTRIES_PER_MESSAGE_BYTES, MAX_UNCOMMITTED_BYTES } from './limits.ts';
import { type Dropped, encodeDropped, encodeProposals, type Proposal } from './peer-message.ts';
import { type Proposals, proposalHeader } from './proposals.ts';
import type { DropReason, RawNode } from './raft/index.ts';

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
        this.#refuse(proposal, notLeading('it is too large'));
      } else if (raw.role === 'leader' && raw.term === proposal.term) {
        timely.push(proposal);
      } else {
        this.#refuse(proposal, notLeading('whoever was taken for the leader leads no more; ask again'));
      }
    }
    if (timely.length === 0) return;
    if (raw.proposeAll(timely.map(({ data }) => data)).outcome === 'accepted') return;
    // Together they may be too much, where some of them are not.
    for (const proposal of timely) {
      const proposed = raw.propose(proposal.data);
      if (proposed.outcome === 'dropped') this.#refuse(proposal, whyDropped(proposed.reason));
    }
  }

  #send(leader: string, proposals: readonly Proposal[]): void {
    for (const group of inMessages(proposals)) {
      if (this.#transport.send(leader, encodeProposals(group))) continue;
      for (const proposal of group) {
        this.#refuse({ ...proposal, from: undefined }, this.#whyNotSent(leader));
      }
    }
  }

  #whyNotSent(leader: string): Dropped {
    if (!this.#transport.isUp(leader)) {
      return notLeading(`the leader, node ${leader}, cannot be reached from this node`);
    }
    return { code: 'queue-full', reason: `too much waits already to be sent to the leader, node ${leader}` };
  }

  /** It was not taken and never will be. */
  #refuse({ from, counter }: ProposalToTake, dropped: Dropped): void {
    if (from === undefined) this.#own.fail(counter, 'unavailable', dropped.code, dropped.reason);
    else this.#transport.send(from, encodeDropped(counter, dropped));
  }
}

function notLeading(reason: string): Dropped {
  return { code: 'no-leader', reason };
}

function whyDropped(reason: DropReason): Dropped {
  if (reason !== 'tooMuchUncommitted') return notLeading(`the leader took no change: ${reason}`);
  const full = `the leader has ${MAX_UNCOMMITTED_BYTES} bytes of changes under way already and takes no more`;
  return { code: 'queue-full', reason: full };
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
