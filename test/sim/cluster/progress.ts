import type { CounterSet } from '../../../base/counters.ts';
import type { World } from '../world.ts';
import { IMAGE } from './clients.ts';
import type { Host } from './host.ts';
import { stateDigest } from './state-digest.ts';

export interface ProgressContext {
  readonly world: World;
  /** Those who belong to the cluster. */
  readonly members: () => readonly Host[];
  readonly counters: CounterSet;
  readonly fail: (what: string) => void;
}

/** Once everything works again: fresh changes must go through every node, and all nodes come to the same state. */
export class Progress {
  readonly #world: World;
  readonly #members: () => readonly Host[];
  readonly #counters: CounterSet;
  readonly #fail: (what: string) => void;

  constructor({ world, members, counters, fail }: ProgressContext) {
    this.#world = world;
    this.#counters = counters;
    this.#members = members;
    this.#fail = fail;
  }

  /** Fails unless it is made within so long. */
  async made(look: () => void, withinMs: number): Promise<void> {
    const world = this.#world;
    const untilMs = world.nowMs + withinMs;
    const written = new Set<Host>();
    for (const host of this.#members()) this.#writeFresh(host, written);
    while (world.nowMs < untilMs && !world.isStopped) {
      await world.runUntil(world.nowMs + 100, look);
      const members = this.#members();
      if (members.every((h) => written.has(h)) && this.#haveConverged(members)) return;
    }
    if (world.isStopped) return;
    if (this.#lacksSoundVoters()) {
      this.#counters.add('seen.too-few-sound-voters');
      return;
    }
    const status = this.#members().map((h) => `${h.nodeId} ${h.phase} ${JSON.stringify(h.node?.status())}`);
    this.#fail(`no progress within ${withinMs} ms after all was mended: ${status.join(', ')}`);
  }

  /**
   * Whether the newest configuration has no majority of voters with their logs. One whose log is damaged does not vote until
   * it has everything from the others: where the cluster has just become small, nobody can go on, and is not meant to.
   */
  #lacksSoundVoters(): boolean {
    const all = this.#members().flatMap((host) => (host.isUp ? (host.node?.status() ?? []) : []));
    const damaged = new Set(all.filter(({ refetch }) => refetch !== undefined).map(({ nodeId }) => nodeId));
    const [newest] = all
      .filter(({ nodeId }) => !damaged.has(nodeId))
      .sort((x, y) => y.lastIndex - x.lastIndex);
    const voters = newest?.members.filter(({ role }) => role === 'voter') ?? [];
    const without = voters.filter(({ nodeId }) => damaged.has(nodeId)).length;
    return without > 0 && (voters.length - without) * 2 <= voters.length;
  }

  #writeFresh(host: Host, written: Set<Host>): void {
    const name = `fresh-${host.nodeId}`;
    const macs = [`06:00:00:00:00:${String(host.raftId).padStart(2, '0')}`];
    const again = (): void => {
      this.#world.after(100, () => this.#writeFresh(host, written));
    };
    const { node } = host;
    if (!host.isUp || node === undefined) {
      again();
      return;
    }
    host.process.enter(() => {
      node
        .propose({ type: 'addClient', name, macs, image: IMAGE, writeCache: 'keep' })
        .then((result) => {
          if (result.ok || result.error.code === 'client-exists') written.add(host);
          else if (result.error.code === 'image-not-held') again();
          else this.#fail(`a fresh change is refused: ${result.error.message}`);
        })
        .catch(again);
    });
  }

  #haveConverged(hosts: readonly Host[]): boolean {
    const seen = hosts.map((host) => {
      if (!host.isUp || host.node === undefined) return undefined;
      const { leader, appliedIndex, lastIndex } = host.node.status();
      return `${leader} ${appliedIndex} ${lastIndex} ${stateDigest(host.node.state())}`;
    });
    const isSettled = hosts.length > 0 && hosts.every((h) => h.node?.status().leader !== undefined);
    return isSettled && seen.every((s) => s !== undefined && s === seen[0]);
  }
}
