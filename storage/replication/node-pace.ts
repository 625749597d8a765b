import { CompactionTurns } from './compaction-turns.ts';
import { CLIENTS, type Clients, type LanePart, NO_PART, PaceLane, PaceShare } from './pace-lane.ts';

/** What a worker of a node tells the others, each of which has a pace of its own and its groups' part of the node's. */
export interface WorkerPart {
  readonly clients: Clients;
  readonly sending: LanePart;
  readonly taking: LanePart;
  /** Passes of compaction under way. */
  readonly compactions: number;
}

export interface OtherWorkers {
  tell(own: WorkerPart): void;
  /** Of all the others together; `clients` is the worst of theirs. */
  others(): WorkerPart;
}

const ALONE: OtherWorkers = {
  tell: () => {},
  others: () => ({ clients: CLIENTS.idle, sending: NO_PART, taking: NO_PART, compactions: 0 }),
};

/**
 * What a node does beside its clients' work: how fast copies catch up that it sends to, or takes in, and how much compaction has in
 * flight. Bounds of the node, which its groups share, since what they rest on is the node's too (disks, links,
 * processors). Clients of any of its groups come first.
 */
export class NodePace {
  readonly sending = new PaceLane();
  readonly taking = new PaceLane();
  readonly compaction: CompactionTurns;
  readonly #workers: OtherWorkers;
  /** Groups, by how their clients fare. */
  readonly #faring: Record<Clients, number> = [0, 0, 0];

  constructor(workers: OtherWorkers = ALONE) {
    this.#workers = workers;
    this.compaction = new CompactionTurns(() => workers.others().compactions);
  }

  enter(): GroupPace {
    return new GroupPace(this);
  }

  /** A group of this worker has another word on how its clients fare; undefined: none. */
  noteClients(before: Clients | undefined, now: Clients | undefined): void {
    if (before !== undefined) this.#faring[before]--;
    if (now !== undefined) this.#faring[now]++;
  }

  tick(limitBytesPerSecond: number, nowMs: number): void {
    const others = this.#workers.others();
    const own = this.#worst();
    const clients = own > others.clients ? own : others.clients;
    this.sending.tick({ clients, others: others.sending, limitBytesPerSecond }, nowMs);
    this.taking.tick({ clients, others: others.taking, limitBytesPerSecond }, nowMs);
    this.tell();
  }

  /** To the other workers, which are to know as well when there is no group left here. */
  tell(): void {
    this.#workers.tell({
      clients: this.#worst(),
      sending: this.sending.part(),
      taking: this.taking.part(),
      compactions: this.compaction.passes,
    });
  }

  #worst(): Clients {
    if (this.#faring[CLIENTS.wait] > 0) return CLIENTS.wait;
    return this.#faring[CLIENTS.write] > 0 ? CLIENTS.write : CLIENTS.idle;
  }
}

/** One group's part of its node's pace. */
export class GroupPace {
  readonly sending: PaceShare;
  readonly taking: PaceShare;
  readonly #node: NodePace;
  #clients: Clients | undefined;

  constructor(node: NodePace) {
    this.#node = node;
    this.sending = new PaceShare(node.sending);
    this.taking = new PaceShare(node.taking);
  }

  /** To be called at each tick, once the shares have been told how far behind copies are. */
  tick(clients: Clients, limitBytesPerSecond: number, nowMs: number): void {
    this.#node.noteClients(this.#clients, clients);
    this.#clients = clients;
    this.#node.tick(limitBytesPerSecond, nowMs);
  }

  /** The group is no longer this node's. */
  leave(): void {
    this.#node.noteClients(this.#clients, undefined);
    this.#clients = undefined;
    this.sending.rest();
    this.taking.rest();
    this.#node.tell();
  }
}
