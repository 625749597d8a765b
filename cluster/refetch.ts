import type { CancelTimer, Timers } from '../base/clock.ts';
import type { Counters } from '../base/counters.ts';
import { describeError, ProtocolError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { PeerTransport } from '../base/peer-transport.ts';
import type { RandomSource } from '../base/random.ts';
import { LogFullError } from '../base/record-log.ts';
import {
  DISK_FULL_RETRY_MS,
  REFETCH_RETRY_MS,
  RENEW_AFTER_ASKING,
  RENEW_AFTER_ASKING_MAX,
} from './limits.ts';
import { decodePeerMessage, encodeRefetchQuery, type PeerMessage } from './peer-message.ts';
import { type RaftMembers, votersOf } from './raft-members.ts';
import type { RaftStore } from './raft-store.ts';
import type { ArrivedSnapshot, SnapshotReceiver } from './snapshot-receiver.ts';

/** What `status` says of a node that has lost data. */
export interface RefetchStatus {
  /** What was wrong with what it had. */
  readonly reason: string;
  /** Of the snapshot that is being fetched; both 0 before there is one. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
  /** Voters that have not yet said in which term they are. */
  readonly waitingFor: readonly string[];
}

interface RefetchContext {
  readonly reason: string;
  readonly store: RaftStore;
  readonly members: RaftMembers;
  readonly receiver: Pick<SnapshotReceiver, 'offered' | 'chunk' | 'progress'>;
  readonly transport: PeerTransport;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  /** The log is whole again, durably; the content is the consumer's to take. */
  readonly done: (arrived: ArrivedSnapshot) => void;
  readonly failed: (error: unknown) => void;
}

const NONCE_BYTES = 16;

/**
 * What a node does that has lost entries or votes of which others may have been told. It may have acknowledged
 * entries that count as committed because of it, and voted in terms of which it knows nothing any more. So Raft does
 * not run on it at all: it neither votes nor campaigns nor acknowledges anything. It counts again only once it has
 *
 * - a snapshot with everything that was committed at a moment after the loss. The leader gives one after having
 *   forgotten what this node had acknowledged, and after a majority without this node has confirmed that it leads;
 * - from every other voter the term in which that one is, told after the loss. A candidate is in the term in which it
 *   asks, and never goes back, so in no later term can this node have voted. It counts only under a leader of at
 *   least the highest of these terms, and its vote in that leader's term is taken to be the leader's.
 */
export class Refetch {
  readonly #context: RefetchContext;
  /** Differs at each start, so that nothing said to an earlier one is taken for an answer. */
  readonly #nonce: Uint8Array;
  readonly #terms = new Map<number, number>();
  #arrived: ArrivedSnapshot | undefined;
  /** With a snapshot here: how many times the others have been asked since, and after how many it is fetched anew. */
  #askedSince = 0;
  #renewAfter = RENEW_AFTER_ASKING;
  #cancelAsk: CancelTimer = () => {};
  #isDone = false;

  constructor(context: RefetchContext) {
    this.#context = context;
    this.#nonce = context.random.bytes(NONCE_BYTES);
  }

  start(): void {
    this.#ask();
  }

  stop(): void {
    this.#cancelAsk();
    this.#isDone = true;
  }

  get status(): RefetchStatus {
    const { reason, receiver, members } = this.#context;
    const progress = receiver.progress ?? { receivedBytes: 0, totalBytes: 0 };
    const waitingFor = this.#missing().map((raftId) => members.nodeIdOf(raftId) ?? `number ${raftId}`);
    return { reason, ...progress, waitingFor };
  }

  #ask(): void {
    const { members, transport, timers } = this.#context;
    this.#renew();
    // With the snapshot here, the leader needs not be asked for it again.
    const asked = this.#arrived === undefined ? members.others.map((m) => m.raftId) : this.#missing();
    for (const raftId of asked) {
      transport.send(members.nodeIdOf(raftId) ?? '', encodeRefetchQuery(this.#nonce));
    }
    this.#cancelAsk = timers.setTimer(REFETCH_RETRY_MS, () => this.#ask());
  }

  /** Whoever is waited for may have been removed since the snapshot was made, and answers nobody any more: a newer one says so. */
  #renew(): void {
    if (this.#arrived === undefined || ++this.#askedSince <= this.#renewAfter) return;
    this.#arrived = undefined;
    this.#renewAfter = Math.min(2 * this.#renewAfter, RENEW_AFTER_ASKING_MAX);
  }

  receive(from: string, bytes: Uint8Array): void {
    const { members, receiver, counters } = this.#context;
    const raftId = members.raftIdOf(from);
    if (raftId === undefined || this.#isDone) return;
    let message: PeerMessage;
    try {
      message = decodePeerMessage(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      counters.add('cluster.malformed');
      return;
    }
    if (message.kind === 'refetchNote') {
      if (this.#isOurs(message.nonce)) this.#terms.set(raftId, message.term);
      this.#check();
    } else if (message.kind === 'snapshotOffer') {
      // Others are of a leader that does not know yet that what this node had is lost.
      if (this.#isOurs(message.nonce)) receiver.offered(from, message);
    } else if (message.kind === 'snapshotChunk') receiver.chunk(from, message);
  }

  #isOurs(nonce: Uint8Array | undefined): boolean {
    return nonce !== undefined && Buffer.compare(nonce, this.#nonce) === 0;
  }

  arrived(arrived: ArrivedSnapshot): void {
    if (!this.#isOurs(arrived.offer.nonce)) return;
    this.#arrived = arrived;
    this.#askedSince = 0;
    this.#check();
  }

  #missing(): number[] {
    const confState = this.#arrived?.snapshot.metadata.confState;
    const voters = confState === undefined ? this.#context.members.voterIds : votersOf(confState);
    const own = this.#context.members.own.raftId;
    return voters.filter((id) => id !== own && !this.#terms.has(id));
  }

  #check(): void {
    const arrived = this.#arrived;
    if (arrived === undefined || this.#isDone || this.#missing().length > 0) return;
    const { store, logger } = this.#context;
    const floor = Math.max(store.initialState().hardState.term, ...this.#terms.values());
    if (arrived.offer.term < floor) {
      // Somebody is further on than this leader, which will learn of it; a later one has to confirm.
      this.#arrived = undefined;
      return;
    }
    logger.warn('cluster.refetch.complete', { index: arrived.snapshot.metadata.index, floor });
    this.stop();
    this.#keep(arrived);
  }

  #keep(arrived: ArrivedSnapshot): void {
    const { store, members, timers, done, failed, logger } = this.#context;
    const { offer, snapshot, nodeId } = arrived;
    const hardState = {
      term: offer.term,
      vote: members.raftIdOf(nodeId) ?? 0,
      commit: snapshot.metadata.index,
    };
    store
      .persist([{ hardState, snapshot, entries: [] }], true)
      .then(() => done(arrived))
      .catch((error: unknown) => {
        if (error instanceof LogFullError) {
          // Nothing of it has been kept, and what was promised to this node still is.
          logger.error('cluster.log.full', { message: describeError(error) });
          this.#cancelAsk = timers.setTimer(DISK_FULL_RETRY_MS, () => this.#keep(arrived));
          return;
        }
        logger.error('cluster.refetch.failed', { message: describeError(error) });
        failed(error);
      });
  }
}
