import type { PeerIdentity } from '../base/peer-transport.ts';
import { MAX_OBSERVED_TICK_MS } from './limits.ts';

/**
 * When each peer was last heard. Silence is measured in time during which this process was running: had it
 * stood still for a second, then every peer would seem to have been silent for one.
 */
export class Contacts {
  #observedMs = 0;
  #lastTickMs: number | undefined;
  readonly #heard = new Map<string, { readonly incarnation: string; readonly atMs: number }>();
  #leadingSinceMs: number | undefined;
  /** Whom this node followed last. A follower hears its leader all the time, so its silence is known. */
  #followed: string | undefined;

  tick(nowMs: number): void {
    const passedMs = this.#lastTickMs === undefined ? 0 : nowMs - this.#lastTickMs;
    this.#observedMs += Math.min(passedMs, MAX_OBSERVED_TICK_MS);
    this.#lastTickMs = nowMs;
  }

  heard({ nodeId, incarnation }: PeerIdentity): void {
    this.#heard.set(nodeId, { incarnation, atMs: this.#observedMs });
  }

  /**
   * @param leading whether this node leads now
   * @param leader who does, if that is known
   */
  leads(leading: boolean, leader: string | undefined): void {
    if (leading) {
      this.#leadingSinceMs ??= this.#observedMs;
      return;
    }
    this.#leadingSinceMs = undefined;
    this.#followed = leader ?? this.#followed;
  }

  /** As which it was last heard; undefined: never. */
  incarnationOf(nodeId: string): string | undefined {
    return this.#heard.get(nodeId)?.incarnation;
  }

  /** How long ago the peer was last heard, as whatever incarnation; undefined: never. */
  sinceMs(nodeId: string): number | undefined {
    const heard = this.#heard.get(nodeId);
    return heard === undefined ? undefined : this.#observedMs - heard.atMs;
  }

  /**
   * On the leader: how long the peer has been silent as far as this leader can tell, which is no longer than
   * it has led, but for the leader it followed before. Undefined: not the leader.
   * @param incarnation only this one counts; undefined: any does
   */
  silentMs(nodeId: string, incarnation: string | undefined): number | undefined {
    if (this.#leadingSinceMs === undefined) return undefined;
    const heard = this.#heard.get(nodeId);
    const counts = heard !== undefined && (incarnation ?? heard.incarnation) === heard.incarnation;
    if (counts && nodeId === this.#followed) return this.#observedMs - heard.atMs;
    return this.#observedMs - Math.max(this.#leadingSinceMs, counts ? heard.atMs : 0);
  }
}
