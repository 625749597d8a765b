import type { CancelTimer, Timers } from '../base/clock.ts';
import { COMMIT_NEWS_DELAY_MS } from './limits.ts';
import { proposalHeader } from './proposals.ts';
import type { Entry, Message } from './raft/index.ts';

/**
 * Appends without entries, by which the leader only tells how far the log is committed. A follower that waits for
 * an entry of its own is told at once, any other with the next entries, or after a moment when none come: with
 * one change after another this halves the messages between nodes. Such a message may always be late or lost.
 */
export class CommitNews {
  readonly #timers: Timers;
  readonly #send: (message: Message) => void;
  readonly #held = new Map<number, Message>();
  #cancelTimer: CancelTimer | undefined;

  /** @param send hands a message on to its receiver */
  constructor(timers: Timers, send: (message: Message) => void) {
    this.#timers = timers;
    this.#send = send;
  }

  /** @returns whether the message was held back; if not, it is to be sent now */
  hold(message: Message): boolean {
    if (message.type !== 'MsgApp') return false;
    if (message.entries !== undefined && message.entries.length > 0) {
      // It says all that was held.
      this.#held.delete(message.to);
      return false;
    }
    this.#held.set(message.to, message);
    this.#cancelTimer ??= this.#timers.setTimer(COMMIT_NEWS_DELAY_MS, () => {
      this.#cancelTimer = undefined;
      this.#release([...this.#held.keys()]);
    });
    return true;
  }

  /** These entries are committed: whoever proposed one waits to hear it. */
  committed(entries: readonly Entry[]): void {
    if (this.#held.size === 0) return;
    const waiting = new Set<number>();
    for (const { type, data } of entries) {
      if (type !== 'normal') {
        // Nobody is to act on an old list of members for longer than need be.
        this.#release([...this.#held.keys()]);
        return;
      }
      if (data.length >= proposalHeader.sizeBytes) waiting.add(proposalHeader.decode(data).raftId);
    }
    this.#release([...waiting]);
  }

  /** Forgets what is held: this node leads no more, or stops. */
  clear(): void {
    this.#held.clear();
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #release(receivers: readonly number[]): void {
    for (const receiver of receivers) {
      const message = this.#held.get(receiver);
      if (message === undefined) continue;
      this.#held.delete(receiver);
      this.#send(message);
    }
  }
}
