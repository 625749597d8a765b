import type { CounterSet } from '../../../base/counters.ts';
import type { Network } from '../network.ts';
import type { World } from '../world.ts';
import type { Authority, Change } from './authority.ts';

export interface AmbushOptions {
  readonly nodeIds: readonly string[];
  readonly world: World;
  readonly network: Network;
  readonly counters: CounterSet;
  readonly authority: Authority;
  readonly isInTrouble: () => boolean;
  readonly move: () => void;
}

/** Nodes that are cut off at the worst moments. */
export class Ambushes {
  readonly #options: AmbushOptions;

  constructor(options: AmbushOptions) {
    this.#options = options;
  }

  /** The primary does not learn that its proposal was applied, nor hear from whom it concerns. */
  applied(change: Change): void {
    const { world, network, counters, authority, isInTrouble } = this.#options;
    if (!isInTrouble() || !world.chance(20)) return;
    counters.add('sim.ambushes');
    const forMs = world.between(200, 1_500);
    authority.cutOff(change.primary, forMs);
    if (change.kind === 'handOver') return;
    const other = change.kind === 'expand' ? change.add : change.remove;
    if (world.chance(50)) network.cut(change.primary, other, forMs);
    else network.hold(change.primary, other, forMs);
  }

  /** One that is fenced hears of it from nobody for a while, and may think that all is well. */
  fenced(nodeId: string): void {
    const { nodeIds, world, network, authority, isInTrouble, move } = this.#options;
    if (!isInTrouble()) return;
    // The new primary is not in office yet, and the one before it may still be serving.
    if (world.chance(30)) world.after(world.between(1, 120), move);
    if (!world.chance(40)) return;
    const forMs = world.between(200, 800);
    authority.cutOff(nodeId, forMs);
    for (const other of nodeIds) {
      if (other === nodeId) continue;
      network.hold(nodeId, other, forMs);
      network.hold(other, nodeId, forMs);
    }
  }

  /** While a node that was left serves on, all that are in sync are started again, or its new process ends. */
  left(nodeId: string, kill: (nodeId: string, longestMs?: number) => void): void {
    const { world, counters, authority, isInTrouble } = this.#options;
    const what = world.random.below(10);
    if (what >= 5) return;
    if (what >= 3) {
      world.after(world.between(40, 150), () => void (isInTrouble() && kill(nodeId)));
      return;
    }
    world.after(world.between(5, 60), () => {
      if (!isInTrouble()) return;
      counters.add('sim.started-again');
      // The last of them stays in sync, and has forgotten whom it granted a lease.
      for (const member of authority.group.inSync) kill(member.nodeId, 100);
    });
  }

  /** From the authority and from its peers, as if its switch had failed, though clients still reach it. */
  isolate(nodeId: string): void {
    const { nodeIds, world, network, authority } = this.#options;
    const forMs = world.between(300, 1_500);
    authority.cutOff(nodeId, forMs);
    for (const other of nodeIds) if (other !== nodeId) network.cut(nodeId, other, forMs);
  }
}
