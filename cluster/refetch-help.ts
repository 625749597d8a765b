import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import { encodeRefetchNote } from './peer-message.ts';
import type { RawNode } from './raft/index.ts';
import type { SnapshotSender } from './snapshot-sender.ts';
import type { SnapshotSource } from './snapshot-source.ts';

interface HelpContext {
  readonly raw: RawNode;
  readonly source: SnapshotSource;
  readonly sender: SnapshotSender;
  readonly transport: PeerTransport;
  readonly logger: Logger;
  /** A position that a majority has confirmed to be no earlier than that of anything committed; see Reads. */
  readonly tail: () => Promise<number>;
}

/** What a node that has lost nothing does for one that has; see Refetch. */
export class RefetchHelp {
  readonly #context: HelpContext;
  /** What is being done for whom, by node. */
  readonly #helping = new Map<string, Uint8Array>();

  constructor(context: HelpContext) {
    this.#context = context;
  }

  asked(nodeId: string, raftId: number, nonce: Uint8Array): void {
    const { raw, transport, logger } = this.#context;
    transport.send(nodeId, encodeRefetchNote(nonce, raw.term));
    if (raw.role !== 'leader') return;
    const helping = this.#helping.get(nodeId);
    if (helping !== undefined && Buffer.compare(helping, nonce) === 0) return;
    logger.warn('cluster.peer.lost-data', { nodeId });
    // First of all: from now on nothing becomes committed on the strength of what is lost.
    raw.forgetPeerLog(raftId);
    this.#helping.set(nodeId, nonce);
    this.#send(nodeId, nonce, raw.term).catch((error: unknown) => {
      if (!(error instanceof OperationError)) throw error;
      this.#end(nodeId, nonce);
    });
  }

  async #send(nodeId: string, nonce: Uint8Array, term: number): Promise<void> {
    const { raw, source, sender, tail } = this.#context;
    const index = await tail();
    const snapshot = source.make(index);
    const leadsOn = raw.role === 'leader' && raw.term === term;
    if (this.#helping.get(nodeId) !== nonce) return;
    if (snapshot === undefined || !leadsOn) this.#end(nodeId, nonce);
    else sender.send(nodeId, snapshot, { term, nonce }, () => this.#end(nodeId, nonce));
  }

  /** The node asks again, if it needs to. */
  #end(nodeId: string, nonce: Uint8Array): void {
    if (this.#helping.get(nodeId) === nonce) this.#helping.delete(nodeId);
  }

  /** Whether a snapshot that Raft wants to send would only be in the way. */
  isHelping(nodeId: string): boolean {
    return this.#helping.has(nodeId);
  }

  /** This node leads no more; whoever does is asked. */
  stopAll(): void {
    this.#helping.clear();
  }
}
