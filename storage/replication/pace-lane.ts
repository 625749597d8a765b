import {
  CATCH_UP_BURST_MS,
  CATCH_UP_GAP_CHECK_MS,
  CATCH_UP_MAX_BYTES_PER_SECOND,
  CATCH_UP_MIN_BYTES_PER_SECOND,
  TICK_MS,
} from './limits.ts';

/** How clients fare with their writes, the worst last: there are none, none waits, one has waited for a whole tick. */
export const CLIENTS = { idle: 0, write: 1, wait: 2 } as const;
export type Clients = (typeof CLIENTS)[keyof typeof CLIENTS];

/** By which the pace changes with each tick. */
const FACTOR: Readonly<Record<Clients, number>> = {
  [CLIENTS.idle]: 2,
  [CLIENTS.write]: 1.1,
  [CLIENTS.wait]: 0.5,
};

/** What workers of one node tell each other of a lane. */
export interface LanePart {
  /** Groups with copies that catch up. */
  readonly groups: number;
  /** What these are to have together, however clients fare. */
  readonly floorBytesPerSecond: number;
}

export const NO_PART: LanePart = { groups: 0, floorBytesPerSecond: 0 };

/**
 * What a node sends to copies that catch up, or what it takes in as one. The pace is halved with each tick in which a client's write has waited for one, rises slowly while they write
 * and none waits, and fast while they don't. But it rises above all of that while copies are not getting nearer. Never above what
 * an administrator has set. Each group with copies that catch up has what it needs to come nearer, and all of them the same of
 * the rest. What one has no use for, the others may have.
 */
export class PaceLane {
  bytesPerSecond = CATCH_UP_MIN_BYTES_PER_SECOND;
  #limitBytesPerSecond = CATCH_UP_MAX_BYTES_PER_SECOND;
  readonly #active = new Set<PaceShare>();
  #others = NO_PART;
  /** May be used by whoever has used up its own share. */
  #spareBytes = 0;
  #tickedMs: number | undefined;

  get limitBytesPerSecond(): number {
    return this.#limitBytesPerSecond;
  }

  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** Groups of the whole node that have copies that catch up. */
  get #groups(): number {
    return this.#active.size + this.#others.groups;
  }

  part(): LanePart {
    return { groups: this.#active.size, floorBytesPerSecond: this.#floorBytesPerSecond() };
  }

  tick(
    node: { readonly clients: Clients; readonly others: LanePart; readonly limitBytesPerSecond: number },
    nowMs: number,
  ): void {
    // Groups tick one after the other: in the time of a tick the pace changes as much as by one of them.
    const elapsedMs = this.#tickedMs === undefined ? TICK_MS : nowMs - this.#tickedMs;
    this.#tickedMs = nowMs;
    this.#limitBytesPerSecond = node.limitBytesPerSecond;
    this.#others = node.others;
    const wanted = this.bytesPerSecond * FACTOR[node.clients] ** Math.min(1, elapsedMs / TICK_MS);
    const floor = this.#floorBytesPerSecond() + node.others.floorBytesPerSecond;
    const least = Math.max(CATCH_UP_MIN_BYTES_PER_SECOND, floor);
    this.bytesPerSecond = Math.min(node.limitBytesPerSecond, Math.max(least, wanted));
    this.#refill(floor, elapsedMs);
  }

  #refill(floor: number, elapsedMs: number): void {
    const over = this.bytesPerSecond - floor;
    let keptBytes = 0;
    for (const share of this.#active) {
      const own = this.floorOf(share);
      const rate = over >= 0 ? own + over / this.#groups : (own * this.bytesPerSecond) / floor;
      this.#spareBytes += share.refill(rate, elapsedMs);
      keptBytes += Math.max(0, share.allowanceBytes);
    }
    const rest = this.#active.size === 0 ? this.bytesPerSecond / (1 + this.#groups) : 0;
    const burstBytes = (this.bytesPerSecond * CATCH_UP_BURST_MS) / 1_000;
    const spareBytes = this.#spareBytes + (rest * elapsedMs) / 1_000;
    this.#spareBytes = Math.min(spareBytes, Math.max(0, burstBytes - keptBytes));
  }

  begin(share: PaceShare): void {
    this.#active.add(share);
  }

  /** What it has not used is the others', and so is what it has used too much. */
  end(share: PaceShare): void {
    this.#active.delete(share);
    this.#spareBytes += share.allowanceBytes;
  }

  /** @returns how much there was of so much */
  takeSpare(lengthBytes: number): number {
    const takenBytes = Math.min(lengthBytes, Math.max(0, this.#spareBytes));
    this.#spareBytes -= takenBytes;
    return takenBytes;
  }

  /** Not less than this, or its copies would never come nearer. */
  floorOf({ needBytesPerSecond }: PaceShare): number {
    return Math.max(CATCH_UP_MIN_BYTES_PER_SECOND / Math.max(1, this.#groups), needBytesPerSecond);
  }

  #floorBytesPerSecond(): number {
    let floor = 0;
    for (const share of this.#active) floor += this.floorOf(share);
    return floor;
  }
}

/** What one group may use of a lane. */
export class PaceShare {
  readonly #lane: PaceLane;
  #isActive = false;
  /** Of its own; less than 0 when more was used than that. */
  #allowanceBytes = 0;
  #rateBytesPerSecond = 0;
  /** What it took to come nearer, or may take. */
  #needBytesPerSecond = 0;
  #gapCheckedMs: number | undefined;
  #gapRecords = Number.POSITIVE_INFINITY;

  constructor(lane: PaceLane) {
    this.#lane = lane;
  }

  get allowanceBytes(): number {
    return this.#allowanceBytes;
  }

  get needBytesPerSecond(): number {
    return this.#needBytesPerSecond;
  }

  /** What the group may have just now, if the others use what is theirs. */
  get bytesPerSecond(): number {
    return this.#isActive ? this.#rateBytesPerSecond : this.#lane.bytesPerSecond;
  }

  get limitBytesPerSecond(): number {
    return this.#lane.limitBytesPerSecond;
  }

  /** Whether anything may be sent, or taken in, now. */
  get isOpen(): boolean {
    return this.#allowanceBytes > 0 || this.#lane.spareBytes > 0;
  }

  use(lengthBytes: number): void {
    const spareBytes = this.#allowanceBytes > 0 ? 0 : this.#lane.takeSpare(lengthBytes);
    this.#allowanceBytes -= lengthBytes - spareBytes;
  }

  /**
   * There are copies that catch up.
   * @param gapRecords what the last of them lacks; 0 where none need come nearer
   */
  follow(gapRecords: number, nowMs: number): void {
    if (!this.#isActive) {
      this.#isActive = true;
      this.#lane.begin(this);
    }
    this.#checkGap(gapRecords, nowMs);
  }

  /** There are none. */
  rest(): void {
    this.#isActive = false;
    this.#lane.end(this);
    this.#allowanceBytes = 0;
    this.#needBytesPerSecond = 0;
    this.#gapCheckedMs = undefined;
    this.#gapRecords = Number.POSITIVE_INFINITY;
  }

  #checkGap(gapRecords: number, nowMs: number): void {
    this.#gapCheckedMs ??= nowMs;
    if (nowMs - this.#gapCheckedMs < CATCH_UP_GAP_CHECK_MS) return;
    const isNearer = gapRecords < this.#gapRecords;
    const twice = Math.min(this.limitBytesPerSecond, 2 * this.#lane.floorOf(this));
    this.#needBytesPerSecond = isNearer ? this.#needBytesPerSecond / 2 : twice;
    this.#gapCheckedMs = nowMs;
    this.#gapRecords = gapRecords === 0 ? Number.POSITIVE_INFINITY : gapRecords;
  }

  /** @returns what it has no use for */
  refill(bytesPerSecond: number, elapsedMs: number): number {
    this.#rateBytesPerSecond = bytesPerSecond;
    const wanted = this.#allowanceBytes + (bytesPerSecond * elapsedMs) / 1_000;
    this.#allowanceBytes = Math.min(wanted, (bytesPerSecond * CATCH_UP_BURST_MS) / 1_000);
    return wanted - this.#allowanceBytes;
  }
}
