import { membersTold } from '../../../cluster/membership.ts';
import type { Network } from '../network.ts';
import type { Process, World } from '../world.ts';
import type { Host } from './host.ts';

export interface IntroductionsContext {
  readonly world: World;
  readonly network: Network;
  /** All there are, those that were lost and may come back included. */
  readonly hosts: () => readonly Host[];
}

const MEMBERS_ASKED_EVERY_MS = 1_000;

/**
 * What processes are told of each other beside the log, as by node/peer and node/member-watch.ts: one that has been removed is
 * refused and told so; one that is called by a node it does not know asks another who the members are.
 */
export class Introductions {
  readonly #context: IntroductionsContext;
  readonly #askedAtMs = new Map<Process, number>();

  constructor(context: IntroductionsContext) {
    this.#context = context;
  }

  refused(by: Process, refused: Process, hasLeft: boolean): void {
    if (!hasLeft) this.ask(this.#hostOf(by));
    else refused.enterAfter(this.#context.world.between(0, 2), () => this.#hostOf(refused)?.toldRemoved());
  }

  #hostOf(process: Process): Host | undefined {
    return this.#context.hosts().find((h) => h.process === process && h.isUp);
  }

  /** Asks one of those of whom it knows, unless that was done a moment ago. */
  ask(host: Host | undefined): void {
    const { world, network } = this.#context;
    if (host?.node === undefined) return;
    const { process, nodeId } = host;
    if (world.nowMs - (this.#askedAtMs.get(process) ?? Number.NEGATIVE_INFINITY) < MEMBERS_ASKED_EVERY_MS)
      return;
    this.#askedAtMs.set(process, world.nowMs);
    const known = new Set(host.node.peers().map((peer) => peer.nodeId));
    const isThere = (other: Host): boolean =>
      other !== host && other.isUp && known.has(other.nodeId) && !network.isCut(nodeId, other.nodeId);
    const others = this.#context.hosts().filter(isThere);
    const node = others[world.random.below(Math.max(1, others.length))]?.node;
    if (node === undefined) return;
    const { members, leftIds } = membersTold(node.state(), (id) => node.hasLeft(id));
    const isMember = members.some((m) => m.nodeId === nodeId);
    process.enterAfter(world.between(1, 40), () => {
      if (leftIds.includes(nodeId)) host.toldRemoved();
      // Whoever does not know it does not answer it.
      else if (isMember) host.node?.learnMembers(members);
    });
  }
}
