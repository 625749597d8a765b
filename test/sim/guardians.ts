import type { PeerIdentity } from '../../base/peer-transport.ts';
import type { Process, World } from './world.ts';

/** Whoever is told that a process has ended. */
export interface Bereaved {
  readonly process: Process;
  peerEnded(peer: PeerIdentity): void;
}

export interface GuardiansOptions {
  readonly world: World;
  readonly counters: { add(name: string, by?: number): void };
  /** Those there are at the moment, the process itself included. */
  readonly others: () => readonly Bereaved[];
}

const LOOK_AGAIN_MS = 20;
const MAX_LOOKS = 100;

/**
 * Stands in for the guardian of each process: when its pipe ends it waits until the process has surely ended, and then lets
 * the others know. That may come late, to some of them only, or not at all.
 */
export class Guardians {
  readonly #options: GuardiansOptions;

  constructor(options: GuardiansOptions) {
    this.#options = options;
  }

  /** Of the process it may be said: it has ended, or is about to, or has let go of its guardian and goes on. */
  pipeEnds(process: Process): void {
    const { world, counters } = this.#options;
    if (world.chance(15)) {
      counters.add('sim.guardians-lost');
      return;
    }
    world.after(world.between(0, 25), () => this.#look(process, MAX_LOOKS));
  }

  #look(process: Process, looks: number): void {
    if (process.isAlive) {
      if (looks > 0) this.#options.world.after(LOOK_AGAIN_MS, () => this.#look(process, looks - 1));
      return;
    }
    this.#testify(process);
  }

  #testify({ nodeId, incarnation }: Process): void {
    const { world, counters, others } = this.#options;
    counters.add('sim.last-words');
    for (const { process } of others()) {
      if (process.nodeId === nodeId || world.chance(10)) continue;
      const delayMs = world.chance(10) ? world.between(50, 600) : world.between(0, 5);
      // Whatever runs there when it arrives.
      world.after(delayMs, () => {
        const there = others().find((other) => other.process.nodeId === process.nodeId);
        there?.process.enter(() => there.peerEnded({ nodeId, incarnation }));
      });
    }
  }
}
