import type { PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';

/** The name of the link by which that node's copy of the group is reached, as far as the cluster has told. */
export type LinkTo = (groupId: string, nodeId: string) => string;

export interface MemberLinksOptions {
  readonly groupId: string;
  readonly linkTo: LinkTo;
  readonly transport: PeerTransport;
  /** Links that are up, by their names. */
  readonly up: ReadonlyMap<string, PeerIdentity>;
}

/**
 * The links to the other members of one group, where nodes are reached by several: one each, which may become another
 * when a node starts again.
 */
export class MemberLinks {
  readonly #options: MemberLinksOptions;
  /** By node, where it is not the node's own name. */
  readonly #names = new Map<string, string>();

  constructor(options: MemberLinksOptions) {
    this.#options = options;
  }

  /** The same links, by the names of nodes. */
  transport(): PeerTransport {
    const { transport } = this.#options;
    return {
      send: (nodeId, parts) => transport.send(this.#nameOf(nodeId), parts),
      queuedBytes: (nodeId) => transport.queuedBytes(this.#nameOf(nodeId)),
      isUp: (nodeId) => transport.isUp(this.#nameOf(nodeId)),
      isAbsent: (nodeId) => transport.isAbsent(this.#nameOf(nodeId)),
      onMessage: (handler) => transport.onMessage(handler),
      onLinkChange: (handler) => transport.onLinkChange(handler),
    };
  }

  /** Whether it is the one by which that node's copy is reached. */
  isLink(name: string, nodeId: string): boolean {
    return this.#nameOf(nodeId) === name;
  }

  /** Who is reached now. */
  reached(): PeerIdentity[] {
    return Array.from(this.#options.up).flatMap(([name, peer]) =>
      this.isLink(name, peer.nodeId) ? [peer] : [],
    );
  }

  /**
   * The cluster may have told anew where copies are.
   * @param onChange told what that changes, as if links had gone down and come up
   */
  follow(nodeIds: readonly string[], onChange: (peer: PeerIdentity, up: boolean) => void): void {
    const { groupId, linkTo, up } = this.#options;
    for (const nodeId of nodeIds) {
      const before = this.#nameOf(nodeId);
      const name = linkTo(groupId, nodeId);
      if (name === before) continue;
      this.#names.set(nodeId, name);
      const was = up.get(before);
      if (was !== undefined) onChange(was, false);
      const is = up.get(name);
      if (is !== undefined) onChange(is, true);
    }
  }

  #nameOf(nodeId: string): string {
    return this.#names.get(nodeId) ?? nodeId;
  }
}
