import type { Counters } from '../base/counters.ts';
import { ProtocolError } from '../base/errors.ts';
import type { PeerIdentity } from '../base/peer-transport.ts';
import { decodePeerMessage, type PeerMessage } from './peer-message.ts';
import type { ProposalIntake } from './proposal-intake.ts';
import type { Proposals } from './proposals.ts';
import type { RawNode } from './raft/index.ts';
import type { RaftMembers } from './raft-members.ts';
import type { RefetchHelp } from './refetch-help.ts';
import type { SnapshotReceiver } from './snapshot-receiver.ts';
import type { SnapshotSender } from './snapshot-sender.ts';

interface InboxContext {
  readonly raftId: number;
  readonly members: RaftMembers;
  readonly raw: RawNode;
  readonly proposals: Proposals;
  readonly intake: ProposalIntake;
  readonly snapshotSender: SnapshotSender;
  readonly snapshotReceiver: SnapshotReceiver;
  readonly help: RefetchHelp;
  readonly counters: Counters;
  /** A message of a member that made sense has come. */
  readonly heard: (from: PeerIdentity) => void;
  /** Raft has been given something, and may want something done. */
  readonly stepped: () => void;
}

/** Takes what other nodes say about the cluster log. */
export class PeerInbox {
  readonly #context: InboxContext;

  constructor(context: InboxContext) {
    this.#context = context;
  }

  receive(from: PeerIdentity, bytes: Uint8Array): void {
    const { members, counters, heard, proposals, intake, stepped, raw } = this.#context;
    const { snapshotSender, snapshotReceiver, help } = this.#context;
    const sender = members.raftIdOf(from.nodeId);
    if (sender === undefined) return;
    if (members.hasLeft(sender, raw)) {
      counters.add('cluster.from-removed');
      return;
    }
    let message: PeerMessage;
    try {
      message = decodePeerMessage(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      counters.add('cluster.malformed');
      return;
    }
    heard(from);
    switch (message.kind) {
      case 'raft':
        this.#step(sender, message);
        return;
      case 'propose':
        for (const proposal of message.proposals) intake.take({ ...proposal, from: from.nodeId });
        stepped();
        return;
      case 'dropped':
        proposals.fail(message.counter, 'unavailable', message.code, message.reason);
        return;
      case 'refetchQuery':
        help.asked(from.nodeId, sender, message.nonce);
        stepped();
        return;
      case 'refetchNote':
        // Of use only while this node itself recovers.
        return;
      case 'snapshotOffer':
        snapshotReceiver.offered(from.nodeId, message);
        return;
      case 'snapshotChunk':
        snapshotReceiver.chunk(from.nodeId, message);
        return;
      case 'snapshotWant':
        snapshotSender.wanted(from.nodeId, message);
        return;
      case 'snapshotRefusal':
        snapshotSender.refused(from.nodeId, message);
    }
  }

  #step(sender: number, { message }: Extract<PeerMessage, { kind: 'raft' }>): void {
    const { raftId, raw, counters, stepped } = this.#context;
    // Nobody speaks for another node.
    if (message.from !== sender || message.to !== raftId) {
      counters.add('cluster.malformed');
      return;
    }
    raw.step(message);
    stepped();
  }
}
