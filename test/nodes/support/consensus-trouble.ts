import { setTimeout as sleep } from 'node:timers/promises';
import type { RandomSource } from '../../../base/random.ts';
import type { TestCluster } from '../../../scripts/lab/cluster.ts';
import type { Lab } from '../../../scripts/lab/lab.ts';

export interface TroubleNode {
  readonly id: string;
  readonly address: string;
}

export const TROUBLES = ['kill', 'pause', 'unplug', 'cut', 'deafen'] as const;
export type Trouble = (typeof TROUBLES)[number];

/** How long each lasts, in milliseconds: from hardly noticed to well beyond an election and a fencing. */
const DURATION_MS: Readonly<Record<Trouble, readonly [number, number]>> = {
  kill: [50, 2_000],
  pause: [100, 3_000],
  unplug: [200, 3_000],
  cut: [200, 3_000],
  deafen: [200, 3_000],
};
const REST_MS: readonly [number, number] = [100, 1_500];
/** Two at a time may leave no majority; then nobody may be told anything untrue either. */
const PERCENT_DOUBLE = 30;

/** What happens to real nodes, at random but from a seed: killed, held up, and cut off in several ways. */
export class ConsensusTrouble {
  readonly #lab: Lab;
  readonly #cluster: TestCluster;
  readonly #nodes: readonly TroubleNode[];
  readonly #random: RandomSource;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();
  readonly counts: Record<Trouble, number> = { kill: 0, pause: 0, unplug: 0, cut: 0, deafen: 0 };

  constructor(
    where: { readonly lab: Lab; readonly cluster: TestCluster; readonly nodes: readonly TroubleNode[] },
    random: RandomSource,
  ) {
    this.#lab = where.lab;
    this.#cluster = where.cluster;
    this.#nodes = where.nodes;
    this.#random = random;
  }

  start(): void {
    this.#running = this.#run();
    // Whoever stops it learns of a failure.
    this.#running.catch(() => {});
  }

  /** Resolves when everything broken has been mended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // Each kind in turn, so that a short run has seen all of them; whom it hits and for how long is the seed's.
    for (let round = 0; !this.#stopped; round++) {
      const trouble = TROUBLES[round % TROUBLES.length] as Trouble;
      const victim = this.#random.below(this.#nodes.length);
      const both = [this.#cause(trouble, victim)];
      if (this.#random.below(100) < PERCENT_DOUBLE) {
        const second = TROUBLES[this.#random.below(TROUBLES.length)] as Trouble;
        both.push(this.#cause(second, (victim + 1) % this.#nodes.length));
      }
      await Promise.all(both);
      await this.#wait(REST_MS);
    }
  }

  async #wait([least, most]: readonly [number, number]): Promise<void> {
    await sleep(least + this.#random.below(most - least));
  }

  async #cause(trouble: Trouble, victim: number): Promise<void> {
    this.counts[trouble]++;
    const node = this.#nodes[victim] as TroubleNode;
    const other = this.#nodes[(victim + 1 + this.#random.below(2)) % this.#nodes.length] as TroubleNode;
    const duration = DURATION_MS[trouble];
    switch (trouble) {
      case 'kill':
        if (!this.#cluster.isRunning(node.id)) return;
        await this.#cluster.killNode(node.id);
        await this.#wait(duration);
        this.#cluster.startNode(node.id);
        return;
      case 'pause':
        this.#cluster.signalNode(node.id, 'SIGSTOP');
        await this.#wait(duration);
        this.#cluster.signalNode(node.id, 'SIGCONT');
        return;
      case 'unplug':
        this.#lab.setPlugged(node.id, false);
        await this.#wait(duration);
        this.#lab.setPlugged(node.id, true);
        return;
      case 'cut':
        // Clients still reach both.
        this.#lab.setDeaf(node.id, other.address, true);
        this.#lab.setDeaf(other.id, node.address, true);
        await this.#wait(duration);
        this.#lab.setDeaf(node.id, other.address, false);
        this.#lab.setDeaf(other.id, node.address, false);
        return;
      case 'deafen':
        this.#lab.setDeaf(node.id, other.address, true);
        await this.#wait(duration);
        this.#lab.setDeaf(node.id, other.address, false);
    }
  }
}
