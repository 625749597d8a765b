import type { World } from '../world.ts';
import { IMAGE } from './clients.ts';
import type { Host } from './host.ts';
import { stateDigest } from './state-digest.ts';

export interface ProgressContext {
  readonly world: World;
  /** Those who belong to the cluster. */
  readonly members: () => readonly Host[];
  readonly fail: (what: string) => void;
}

/** Once everything works again: fresh changes must go through every node, and all nodes come to the same state. */
export class Progress {
  readonly #world: World;
  readonly #members: () => readonly Host[];
  readonly #fail: (what: string) => void;

  constructor({ world, members, fail }: ProgressContext) {
    this.#world = world;
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
    const status = this.#members().map((h) => `${h.nodeId} ${h.phase} ${JSON.stringify(h.node?.status())}`);
    this.#fail(`no progress within ${withinMs} ms after all was mended: ${status.join(', ')}`);
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
