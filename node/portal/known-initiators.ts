import type { CancelTimer, Timers } from '../../base/clock.ts';
import type { Endpoint } from '../net/tcp-segment.ts';
import { TAKEOVER_WAIT_MS } from './limits.ts';

interface Inherited {
  readonly initiators: readonly Endpoint[];
  readonly cancel: CancelTimer;
}

/**
 * Who has, or had a moment ago, connections to a group's portal wherever that was. Nothing rests on it: whoever is missing
 * finds out by itself, later, and whoever has gone does not mind being made to notice.
 */
export class KnownInitiators {
  readonly #timers: Timers;
  /** By group, as its primary's node has told last. */
  readonly #told = new Map<string, readonly Endpoint[]>();
  /** Of groups that this node has just taken over. */
  readonly #inherited = new Map<string, Inherited>();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  heard(groupId: string, initiators: readonly Endpoint[]): void {
    this.#told.set(groupId, initiators);
  }

  /** The group's address is here now. */
  taken(groupId: string): void {
    this.#inherited.get(groupId)?.cancel();
    const cancel = this.#timers.setTimer(TAKEOVER_WAIT_MS, () => this.#inherited.delete(groupId));
    this.#inherited.set(groupId, { initiators: this.toNudge(groupId), cancel });
  }

  /** Those with connections to whoever had the address before. */
  toNudge(groupId: string): readonly Endpoint[] {
    return this.#told.get(groupId) ?? [];
  }

  /**
   * What the other members are to know: for a while also those that have not come here yet. Should this node end before they
   * have, whoever follows finds them.
   * @param here the initiators of the group's sessions
   */
  toTell(groupId: string, here: readonly Endpoint[]): readonly Endpoint[] {
    const known = new Set(here.map(nameOf));
    const others = this.#inherited.get(groupId)?.initiators.filter((end) => !known.has(nameOf(end))) ?? [];
    return [...here, ...others];
  }

  stop(): void {
    for (const { cancel } of this.#inherited.values()) cancel();
  }
}

function nameOf({ address, port }: Endpoint): string {
  return `${address}:${port}`;
}
