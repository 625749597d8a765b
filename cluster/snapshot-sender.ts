import type { Clock } from '../base/clock.ts';
import type { Counters } from '../base/counters.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import { SNAPSHOT_CHUNK_BYTES, SNAPSHOT_GIVE_UP_MS, SNAPSHOT_REPEAT_MS } from './limits.ts';
import type { Snapshot } from './raft/index.ts';
import {
  encodeSnapshotMessage,
  type SnapshotOffer,
  type SnapshotRefusal,
  type SnapshotWant,
} from './snapshot-messages.ts';
import { sha256Of } from './snapshot-spool.ts';

interface Outgoing {
  readonly offer: SnapshotOffer;
  readonly content: Uint8Array;
  readonly ended: (outcome: 'finish' | 'failure') => void;
  /** When the peer was last heard about it, and when something was last sent to it. */
  heardMs: number;
  sentMs: number;
}

/**
 * Sends snapshots to peers, chunk by chunk, at most one to each. Never more than one chunk is under way to a peer,
 * so that nothing else has to wait long behind it.
 */
export class SnapshotSender {
  readonly #transport: PeerTransport;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #counters: Counters;
  readonly #outgoing = new Map<string, Outgoing>();
  /** Digest by content, since one snapshot may go to several peers, and to one several times. */
  readonly #digests = new WeakMap<Uint8Array, Uint8Array>();

  constructor(context: {
    readonly transport: PeerTransport;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly counters: Counters;
  }) {
    this.#transport = context.transport;
    this.#clock = context.clock;
    this.#logger = context.logger;
    this.#counters = context.counters;
  }

  /**
   * Begins anew, or goes on where the peer says it is.
   * @param ended called once, unless stopAll or another send to the same peer comes first
   */
  send(
    nodeId: string,
    { metadata, data }: Snapshot,
    { term, nonce }: { readonly term: number; readonly nonce?: Uint8Array | undefined },
    ended: (outcome: 'finish' | 'failure') => void,
  ): void {
    const sha256 = this.#digests.get(data) ?? sha256Of(data);
    this.#digests.set(data, sha256);
    const offer = { term, metadata, totalBytes: data.length, sha256, nonce };
    const nowMs = this.#clock.monotonicMs();
    const outgoing: Outgoing = { offer, content: data, ended, heardMs: nowMs, sentMs: nowMs };
    this.#outgoing.set(nodeId, outgoing);
    this.#logger.info('cluster.snapshot.offered', { to: nodeId, index: metadata.index, bytes: data.length });
    this.#offer(nodeId, outgoing);
  }

  /** Lowest index of a snapshot under way: the log has to go on from it. */
  get lowestIndex(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { offer } of this.#outgoing.values()) lowest = Math.min(lowest, offer.metadata.index);
    return lowest;
  }

  #offer(nodeId: string, outgoing: Outgoing): void {
    outgoing.sentMs = this.#clock.monotonicMs();
    this.#transport.send(nodeId, encodeSnapshotMessage({ kind: 'snapshotOffer', ...outgoing.offer }));
  }

  wanted(nodeId: string, { sha256, offsetBytes }: SnapshotWant): void {
    const outgoing = this.#of(nodeId, sha256);
    if (outgoing === undefined || offsetBytes > outgoing.content.length) return;
    const nowMs = this.#clock.monotonicMs();
    outgoing.heardMs = nowMs;
    outgoing.sentMs = nowMs;
    if (offsetBytes === outgoing.content.length) {
      this.#end(nodeId, 'finish');
      return;
    }
    const bytes = outgoing.content.subarray(offsetBytes, offsetBytes + SNAPSHOT_CHUNK_BYTES);
    this.#counters.add('cluster.snapshot.chunks-sent');
    // One that is dropped is asked for again, after the next offer.
    this.#transport.send(
      nodeId,
      encodeSnapshotMessage({ kind: 'snapshotChunk', sha256, offsetBytes, bytes }),
    );
  }

  refused(nodeId: string, { sha256, reason }: SnapshotRefusal): void {
    if (this.#of(nodeId, sha256) === undefined) return;
    this.#logger.warn('cluster.snapshot.refused', { by: nodeId, reason });
    this.#end(nodeId, 'failure');
  }

  #of(nodeId: string, sha256: Uint8Array): Outgoing | undefined {
    const outgoing = this.#outgoing.get(nodeId);
    return outgoing !== undefined && Buffer.compare(outgoing.offer.sha256, sha256) === 0
      ? outgoing
      : undefined;
  }

  /** The peer may have started again, and knows how far it got. */
  linkUp(nodeId: string): void {
    const outgoing = this.#outgoing.get(nodeId);
    if (outgoing !== undefined) this.#offer(nodeId, outgoing);
  }

  tick(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [nodeId, outgoing] of this.#outgoing) {
      if (nowMs - outgoing.heardMs > SNAPSHOT_GIVE_UP_MS) {
        this.#logger.warn('cluster.snapshot.given-up', { to: nodeId });
        this.#end(nodeId, 'failure');
      } else if (nowMs - outgoing.sentMs > SNAPSHOT_REPEAT_MS) this.#offer(nodeId, outgoing);
    }
  }

  #end(nodeId: string, outcome: 'finish' | 'failure'): void {
    const outgoing = this.#outgoing.get(nodeId);
    this.#outgoing.delete(nodeId);
    outgoing?.ended(outcome);
  }

  /** This node leads no more; whoever does sends its own. */
  stopAll(): void {
    this.#outgoing.clear();
  }
}
