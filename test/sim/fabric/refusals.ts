import type { ClusterState } from '../../../cluster/state/model.ts';

/** Counts old copies that a group has not gone on from, although they were in the place of its last one. */
export class Refusals {
  readonly #counters: { add(name: string): void };
  /** By group and incarnation. */
  readonly #counted = new Set<string>();

  constructor(counters: { add(name: string): void }) {
    this.#counters = counters;
  }

  look(state: ClusterState | undefined): void {
    for (const { id, primary, inSync } of Object.values(state?.portalGroups ?? {})) {
      const [last] = inSync;
      if (primary !== undefined || inSync.length > 1 || last?.life === undefined) continue;
      const node = state?.nodes[last.nodeId];
      const isOld = node?.disks?.[id] === last.disk && node?.lives?.[id] !== last.life;
      const refusal = `${id} ${node?.incarnation}`;
      if (node?.status !== 'up' || !isOld || this.#counted.has(refusal)) continue;
      this.#counted.add(refusal);
      this.#counters.add('sim.old-copy-refused');
    }
  }
}
