import type { CancelTimer, Timers } from '../../base/clock.ts';
import { MOVED_GRACE_MS } from './limits.ts';

export interface LapsePorts {
  readonly timers: Timers;
  /** Whether this node is primary of the group no longer. */
  readonly hasMoved: (groupId: string) => boolean;
  /** It is primary no longer: what is to be done before its sessions end. */
  readonly moved: (groupId: string) => void;
  readonly endSessions: (groupId: string, hasMoved: boolean) => void;
}

interface Lapse {
  readonly hasMoved: boolean;
  readonly cancel: CancelTimer;
}

/**
 * Groups that are not served here any more, and whose sessions are kept, unanswered, for what comes of it: another node
 * opens the address, or this one's lease is renewed. A reset before that would only send initiators to where nobody is.
 */
export class Lapses {
  readonly #ports: LapsePorts;
  readonly #lapses = new Map<string, Lapse>();

  constructor(ports: LapsePorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#lapses.size;
  }

  /** Whether only the lease has lapsed. */
  isAwaitingLease(groupId: string): boolean {
    return this.#lapses.get(groupId)?.hasMoved === false;
  }

  /** The group is not served any more. */
  begin(groupId: string): void {
    this.forget(groupId);
    if (this.#ports.hasMoved(groupId)) this.#awaitSuccessor(groupId);
    // The log says when the lease need not be waited for any longer, to commands and to sessions alike.
    else this.#lapses.set(groupId, { hasMoved: false, cancel: () => {} });
  }

  #awaitSuccessor(groupId: string): void {
    const cancel = this.#ports.timers.setTimer(MOVED_GRACE_MS, () => this.#end(groupId));
    this.#lapses.set(groupId, { hasMoved: true, cancel });
    this.#ports.moved(groupId);
  }

  /** The lease is not waited for any more. */
  leaseGivenUp(groupId: string): void {
    if (!this.isAwaitingLease(groupId)) return;
    if (this.#ports.hasMoved(groupId)) this.#awaitSuccessor(groupId);
    else this.#end(groupId);
  }

  /** Whoever is told to come again now is let in there. */
  openElsewhere(groupId: string): void {
    this.#end(groupId);
  }

  #end(groupId: string): void {
    const lapse = this.#lapses.get(groupId);
    if (lapse === undefined) return;
    this.forget(groupId);
    this.#ports.endSessions(groupId, lapse.hasMoved);
  }

  /** The group is served again, or is no more. */
  forget(groupId: string): void {
    this.#lapses.get(groupId)?.cancel();
    this.#lapses.delete(groupId);
  }

  stop(): void {
    for (const { cancel } of this.#lapses.values()) cancel();
  }
}
