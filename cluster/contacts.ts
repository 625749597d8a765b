import type { PeerIdentity } from '../base/peer-transport.ts';
import { MAX_OBSERVED_TICK_MS, STEADY_GAP_MS } from './limits.ts';

interface Heard {
  readonly incarnation: string;
  readonly atMs: number;
  /** Since then it has been heard again and again. */
  readonly steadySinceMs: number;
}

/**
 * When each peer was last heard. Silence is measured in time during which this process was running: had it
 * stood still for a second, then every peer would seem to have been silent for one.
 */
export class Contacts {
  #observedMs = 0;
  #lastTickMs: number | undefined;
  readonly #heard = new Map<string, Heard>();
  #leadingSinceMs: number | undefined;
  /** Whom this node followed last. A follower hears its leader all the time, so its silence is known. */
  #followed: string | undefined;

  tick(nowMs: number): void {
    const passedMs = this.#lastTickMs === undefined ? 0 : nowMs - this.#lastTickMs;
    this.#observedMs += Math.min(passedMs, MAX_OBSERVED_TICK_MS);
    this.#lastTickMs = nowMs;
  }

  heard({ nodeId, incarnation }: PeerIdentity): void {
    const atMs = this.#observedMs;
    const last = this.#heard.get(nodeId);
    const isSteady = last?.incarnation === incarnation && atMs - last.atMs <= STEADY_GAP_MS;
    this.#heard.set(nodeId, { incarnation, atMs, steadySinceMs: isSteady ? last.steadySinceMs : atMs });
  }

  /** The time during which this process has been running, in which silence is measured. */
  get observedMs(): number {
    return this.#observedMs;
  }

  /** For how long that process was heard without much of a gap, until it was heard last. */
  steadyMs(nodeId: string, incarnation: string): number {
    const heard = this.#heard.get(nodeId);
    return heard?.incarnation === incarnation ? heard.atMs - heard.steadySinceMs : 0;
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
