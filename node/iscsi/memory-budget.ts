import { DataMemory } from './data-memory.ts';
import { MAX_OVERDRAWN_CONNECTIONS, MAX_SHARES_TOGETHER_BYTES, MIN_SHARE_BYTES } from './limits.ts';

/** Bounds of a budget, all in bytes but the count. */
export interface BudgetLimits {
  /** What all connections may hold together. */
  readonly limitBytes: number;
  /** A connection that holds no more than this never waits, so that heavy ones cannot starve light ones. */
  readonly floorBytes: number;
  /** What these floors may come to together: each is smaller where there are many connections. */
  readonly floorsTogetherBytes: number;
  /** Connections that may go on above the limit to finish writes. */
  readonly maxOverdrawn: number;
}

/**
 * The memory that the connections of a node share. A connection tells what it holds each time it is about to
 * take another PDU; above the limit it has to wait, which TCP passes on to the initiator. Nothing is refused.
 *
 * What is held drains by itself, but for writes and PDUs that have come in part: it takes more from the socket to end
 * those. So that they cannot block each other, a few connections with such may go on above the limit; each is bounded
 * by its own window, and dropped by its portal when it stalls. All floors together stay well below where waiting
 * connections are woken, or parts of PDUs that never wait could keep the others waiting for ever.
 */
export class MemoryBudget {
  readonly limits: BudgetLimits;
  /** What was used of it and is to be used again. */
  readonly dataMemory = new DataMemory();
  readonly #resumeBytes: number;
  #heldBytes = 0;
  #shareCount = 0;
  readonly #waiting = new Set<BudgetShare>();
  readonly #overdrawn = new Set<BudgetShare>();

  constructor(limits: BudgetLimits) {
    this.limits = limits;
    this.#resumeBytes = limits.limitBytes * 0.75;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** @param wake told that a share that had to wait may try again; must not call back before it returns */
  join(wake: () => void): BudgetShare {
    this.#shareCount++;
    return new BudgetShare(this, wake);
  }

  /** What each connection may hold without waiting, now that there are so many. */
  get floorBytes(): number {
    const { floorBytes, floorsTogetherBytes } = this.limits;
    return Math.min(floorBytes, floorsTogetherBytes / Math.max(1, this.#shareCount));
  }

  /** Only for shares. */
  change(byBytes: number): void {
    this.#heldBytes += byBytes;
    if (byBytes < 0 && this.#waiting.size > 0 && this.#heldBytes <= this.#resumeBytes) this.#wakeAll();
  }

  /** Only for shares. @returns whether the share may take another PDU */
  admit(share: BudgetShare, heldBytes: number, mustFinish: () => boolean): boolean {
    if (this.#heldBytes <= this.limits.limitBytes || heldBytes <= this.floorBytes) {
      if (this.#overdrawn.size > 0) this.#settle(share);
      return true;
    }
    const hasRoom = this.#overdrawn.has(share) || this.#overdrawn.size < this.limits.maxOverdrawn;
    if (hasRoom && mustFinish()) {
      this.#overdrawn.add(share);
      return true;
    }
    this.#settle(share);
    this.#waiting.add(share);
    return false;
  }

  /** Only for shares. */
  leave(share: BudgetShare): void {
    this.#shareCount--;
    this.#waiting.delete(share);
    this.#settle(share);
  }

  /** The share overdraws no longer, so another one that waits may. */
  #settle(share: BudgetShare): void {
    if (this.#overdrawn.delete(share) && this.#waiting.size > 0) this.#wakeAll();
  }

  #wakeAll(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const share of waiting) share.wake();
  }
}

/** What one connection holds of a budget. */
export class BudgetShare {
  readonly #budget: MemoryBudget;
  readonly wake: () => void;
  #heldBytes = 0;
  #left = false;

  constructor(budget: MemoryBudget, wake: () => void) {
    this.#budget = budget;
    this.wake = wake;
  }

  /**
   * @param heldBytes what the connection holds now
   * @param mustFinish whether it has a write whose data has come in part; asked only when it matters
   * @returns whether it may take another PDU; when not, wake is called once it may be worth trying again
   */
  mayTake(heldBytes: number, mustFinish: () => boolean): boolean {
    this.update(heldBytes);
    return this.#budget.admit(this, heldBytes, mustFinish);
  }

  update(heldBytes: number): void {
    const byBytes = heldBytes - this.#heldBytes;
    if (byBytes === 0) return;
    this.#heldBytes = heldBytes;
    this.#budget.change(byBytes);
  }

  /** The connection is gone, and with it what it held. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.update(0);
    this.#budget.leave(this);
  }
}

/** The budget of a node, or of a portal that has one of its own. @param limitBytes PortalLimits.memoryBytes */
export function sessionMemory(limitBytes: number): MemoryBudget {
  return new MemoryBudget({
    limitBytes,
    floorBytes: MIN_SHARE_BYTES,
    floorsTogetherBytes: Math.min(MAX_SHARES_TOGETHER_BYTES, limitBytes / 4),
    maxOverdrawn: MAX_OVERDRAWN_CONNECTIONS,
  });
}
