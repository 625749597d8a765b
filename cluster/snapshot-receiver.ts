import type { Counters } from '../base/counters.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import { MAX_SNAPSHOT_ATTEMPTS, MAX_SNAPSHOT_BYTES } from './limits.ts';
import type { Snapshot } from './raft/index.ts';
import type { RaftStore } from './raft-store.ts';
import { encodeSnapshotMessage, type SnapshotChunk, type SnapshotOffer } from './snapshot-messages.ts';
import { SnapshotSpool, sha256Of } from './snapshot-spool.ts';

/** A snapshot that is whole and is what was offered. */
export interface ArrivedSnapshot {
  readonly nodeId: string;
  readonly offer: SnapshotOffer;
  readonly snapshot: Snapshot;
}

/**
 * Receives snapshots, one at a time; the one offered last wins. What has come is kept on disk, so that after a
 * restart, as after a lost link, only the rest is asked for. Content that is not what was offered is never used: it
 * is fetched again from the beginning, and after a few times refused.
 */
export class SnapshotReceiver {
  readonly #store: RaftStore;
  readonly #transport: PeerTransport;
  readonly #logger: Logger;
  readonly #counters: Counters;
  readonly #arrived: (arrived: ArrivedSnapshot) => void;
  readonly #failed: (error: unknown) => void;
  readonly #isKnown: (index: number) => boolean;
  #from: string | undefined;
  #offer: SnapshotOffer | undefined;
  #attempts = 0;
  /** A part is being kept; what comes meanwhile is a repetition. */
  #keeping = false;

  /**
   * @param failed the disk has failed
   * @param isKnown whether everything up to there is known to be committed here, so that its content is not needed
   */
  constructor(
    store: RaftStore,
    context: { readonly transport: PeerTransport; readonly logger: Logger; readonly counters: Counters },
    on: {
      readonly arrived: (arrived: ArrivedSnapshot) => void;
      readonly failed: (error: unknown) => void;
      readonly isKnown: (index: number) => boolean;
    },
  ) {
    this.#store = store;
    this.#transport = context.transport;
    this.#logger = context.logger;
    this.#counters = context.counters;
    this.#arrived = on.arrived;
    this.#failed = on.failed;
    this.#isKnown = on.isKnown;
  }

  /** Bytes of the snapshot under way that are here, and all there are; undefined: none is under way. */
  get progress(): { readonly receivedBytes: number; readonly totalBytes: number } | undefined {
    const { spool } = this.#store;
    if (this.#offer === undefined || spool === undefined) return undefined;
    return { receivedBytes: spool.filledBytes, totalBytes: spool.snapshot.totalBytes };
  }

  offered(nodeId: string, offer: SnapshotOffer): void {
    const { totalBytes, sha256 } = offer;
    if (totalBytes > MAX_SNAPSHOT_BYTES) {
      const reason = `a snapshot of ${totalBytes} bytes; this node takes ${MAX_SNAPSHOT_BYTES} at most`;
      this.#transport.send(nodeId, encodeSnapshotMessage({ kind: 'snapshotRefusal', sha256, reason }));
      return;
    }
    if (offer.nonce === undefined && this.#isKnown(offer.metadata.index)) {
      // All of it is here already, as after an answer that was lost; Raft tells the leader so.
      this.#transport.send(
        nodeId,
        encodeSnapshotMessage({ kind: 'snapshotWant', sha256, offsetBytes: totalBytes }),
      );
      this.#arrived({ nodeId, offer, snapshot: { metadata: offer.metadata, data: new Uint8Array(0) } });
      return;
    }
    if (this.#offer === undefined || Buffer.compare(this.#offer.sha256, sha256) !== 0) this.#attempts = 0;
    this.#from = nodeId;
    this.#offer = offer;
    if (this.#keeping) return;
    if (this.#store.spool?.isOf(offer) !== true) this.#store.beginSpool(offer);
    else if (this.#store.spool.filledBytes > 0) this.#counters.add('cluster.snapshot.resumed');
    this.#goOn();
  }

  chunk(nodeId: string, { sha256, offsetBytes, bytes }: SnapshotChunk): void {
    const { spool } = this.#store;
    const isWanted =
      nodeId === this.#from &&
      this.#offer !== undefined &&
      Buffer.compare(this.#offer.sha256, sha256) === 0 &&
      spool?.isOf(this.#offer) === true &&
      spool.takes(offsetBytes, bytes.length) &&
      bytes.length > 0;
    if (!isWanted || this.#keeping) return;
    this.#keeping = true;
    this.#store
      .keepPart({ ...spool.snapshot, offsetBytes, bytes })
      .then(() => {
        this.#keeping = false;
        this.#counters.add('cluster.snapshot.chunks-received');
        this.#goOn();
      })
      .catch(this.#failed);
  }

  /** Asks for what is missing, or is done. */
  #goOn(): void {
    const { spool } = this.#store;
    if (this.#offer === undefined || this.#from === undefined || spool === undefined) return;
    if (!spool.isOf(this.#offer)) {
      // Another one was offered while a part of the one before was being kept.
      this.#store.beginSpool(this.#offer);
      this.#want(this.#from, 0);
    } else if (!spool.isWhole) this.#want(this.#from, spool.filledBytes);
    else this.#finish(this.#from, this.#offer, spool);
  }

  #want(nodeId: string, offsetBytes: number): void {
    const sha256 = this.#offer?.sha256 ?? new Uint8Array(0);
    this.#transport.send(nodeId, encodeSnapshotMessage({ kind: 'snapshotWant', sha256, offsetBytes }));
  }

  #finish(nodeId: string, offer: SnapshotOffer, spool: SnapshotSpool): void {
    const data = spool.content();
    if (Buffer.compare(sha256Of(data), offer.sha256) !== 0) {
      this.#refetch(nodeId, offer);
      return;
    }
    this.#want(nodeId, offer.totalBytes);
    this.#offer = undefined;
    this.#arrived({ nodeId, offer, snapshot: { metadata: offer.metadata, data } });
  }

  #refetch(nodeId: string, offer: SnapshotOffer): void {
    this.#attempts += 1;
    this.#counters.add('cluster.snapshot.bad-hash');
    this.#logger.error('cluster.snapshot.bad-hash', { from: nodeId, index: offer.metadata.index });
    if (this.#attempts < MAX_SNAPSHOT_ATTEMPTS) {
      this.#store.beginSpool(offer);
      this.#want(nodeId, 0);
      return;
    }
    const { sha256 } = offer;
    const reason = `its content was not of the SHA-256 that was offered, ${this.#attempts} times`;
    this.#transport.send(nodeId, encodeSnapshotMessage({ kind: 'snapshotRefusal', sha256, reason }));
    this.#offer = undefined;
    this.#attempts = 0;
    this.#store.dropSpool();
  }
}
