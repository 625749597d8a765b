import type { Contacts } from './contacts.ts';
import { STARTED_AFTER_STEADY_MS, STARTING_MS } from './limits.ts';
import type { ClusterState } from './state/model.ts';

/**
 * The processes that registered a moment ago and may still be loading what they are made of: on a busy host they stand still
 * for seconds meanwhile, which says nothing of them. One that has been heard steadily for a while is through with that.
 */
export class Newcomers {
  readonly #contacts: Contacts;
  /** By node: the process that registered last, and when this node saw that, in the contacts' time. */
  readonly #seen = new Map<string, { readonly incarnation: string; readonly atMs: number }>();
  #hasLooked = false;

  constructor(contacts: Contacts) {
    this.#contacts = contacts;
  }

  /** To be called often, on whatever node: whoever leads next is to know as well who has just started. */
  look({ nodes }: ClusterState): void {
    for (const { nodeId, incarnation } of Object.values(nodes)) {
      if (this.#seen.get(nodeId)?.incarnation === incarnation) continue;
      // Who was there before this process may have been so for long.
      const atMs = this.#hasLooked ? this.#contacts.observedMs : Number.NEGATIVE_INFINITY;
      this.#seen.set(nodeId, { incarnation, atMs });
    }
    for (const nodeId of this.#seen.keys()) if (!Object.hasOwn(nodes, nodeId)) this.#seen.delete(nodeId);
    this.#hasLooked = true;
  }

  isStarting(nodeId: string, incarnation: string): boolean {
    const seen = this.#seen.get(nodeId);
    if (seen?.incarnation !== incarnation || this.#contacts.observedMs - seen.atMs >= STARTING_MS)
      return false;
    return this.#contacts.steadyMs(nodeId, incarnation) < STARTED_AFTER_STEADY_MS;
  }
}
