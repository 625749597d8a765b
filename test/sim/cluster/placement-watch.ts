import type { ClusterState, PortalGroupRecord } from '../../../cluster/state/model.ts';
import { isUnderWay } from '../../../cluster/state/placement.ts';

/** Looks at each state of the cluster: copies are moved one at a time, and none goes before the new one is in sync. */
export class PlacementWatch {
  readonly #fail: (what: string) => void;
  readonly #counters: { add(name: string): void };
  #position = -1;
  #before: ClusterState | undefined;

  constructor(fail: (what: string) => void, counters: { add(name: string): void }) {
    this.#fail = fail;
    this.#counters = counters;
  }

  /** States that some node has been in already say nothing new. */
  look(position: number, state: ClusterState): void {
    if (position <= this.#position) return;
    const before = this.#before;
    this.#position = position;
    this.#before = state;
    const moving = Object.values(state.portalGroups).filter(isUnderWay);
    if (moving.length > 1) this.#fail(`copies of ${moving.map((g) => g.id).join(' and ')} move at once`);
    if (before === undefined) return;
    for (const group of Object.values(before.portalGroups)) {
      const now = state.portalGroups[group.id];
      if (now !== undefined && now !== group) this.#compare(group, now);
    }
  }

  #compare(before: PortalGroupRecord, now: PortalGroupRecord): void {
    const { moving } = before;
    if (moving === undefined || !isUnderWay(before) || now.replicas.includes(moving.from)) return;
    // Several entries may lie between two looks; the audit trail would tell, but this is enough.
    if (now.epoch !== before.epoch + 1) return;
    const wasInSync = before.inSync.some((m) => m.nodeId === moving.from);
    if (!now.inSync.some((m) => m.nodeId === moving.to) && wasInSync) {
      this.#fail(`${before.id} gave up its copy on ${moving.from} before ${moving.to} had one`);
    }
    this.#counters.add('placement.copies-moved');
  }
}
