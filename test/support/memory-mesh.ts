import type { MessageHandler, PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';

/** Of memory that was given back. */
const USED_AGAIN = 0xee;

/** Links between nodes of one process, which a test can cut one by one. Messages arrive in later turns. */
export class MemoryMesh {
  readonly #nodes = new Map<string, MemoryTransport>();
  readonly #cut = new Set<string>();
  /** Sees each message before it is delivered; false drops it. */
  filter: (from: string, to: string, message: Uint8Array) => boolean = () => true;

  /** Adds a node, or another incarnation of one. */
  join(self: PeerIdentity): MemoryTransport {
    this.leave(self.nodeId);
    const node = new MemoryTransport(this, self);
    this.#nodes.set(self.nodeId, node);
    for (const other of this.#nodes.values()) this.#announce(node, other, true);
    return node;
  }

  /** The node is gone, as by a crash. */
  leave(nodeId: string): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    this.#nodes.delete(nodeId);
    node.gone = true;
    for (const other of this.#nodes.values()) this.#announce(node, other, false);
  }

  cut(a: string, b: string): void {
    this.#setLink(a, b, false);
  }

  mend(a: string, b: string): void {
    this.#setLink(a, b, true);
  }

  isolate(nodeId: string, isolated = true): void {
    for (const other of this.#nodes.keys()) if (other !== nodeId) this.#setLink(nodeId, other, !isolated);
  }

  #setLink(a: string, b: string, up: boolean): void {
    const key = [a, b].sort().join(' ');
    if (up === !this.#cut.has(key)) return;
    const [x, y] = [this.#nodes.get(a), this.#nodes.get(b)];
    if (up) this.#cut.delete(key);
    if (x !== undefined && y !== undefined) this.#announce(x, y, up);
    if (!up) this.#cut.add(key);
  }

  #announce(a: MemoryTransport, b: MemoryTransport, up: boolean): void {
    if (a === b || this.#cut.has([a.self.nodeId, b.self.nodeId].sort().join(' '))) return;
    setImmediate(() => {
      if (!a.gone) a.changed(b.self, up);
      if (!b.gone) b.changed(a.self, up);
    });
  }

  linked(a: string, b: string): boolean {
    return this.#nodes.has(a) && this.#nodes.has(b) && !this.#cut.has([a, b].sort().join(' '));
  }

  deliver(from: MemoryTransport, to: string, message: Uint8Array): boolean {
    const target = this.#nodes.get(to);
    if (from.gone || target === undefined || !this.linked(from.self.nodeId, to)) return false;
    setImmediate(() => {
      if (target.gone || !this.linked(from.self.nodeId, to)) return;
      if (this.filter(from.self.nodeId, to, message)) target.received(from.self, message);
    });
    return true;
  }
}

class MemoryTransport implements PeerTransport {
  readonly #mesh: MemoryMesh;
  readonly self: PeerIdentity;
  gone = false;
  /** Nodes whose hosts say that no process is there. */
  readonly absent = new Set<string>();
  #handler: MessageHandler = () => {};
  readonly #linkHandlers: ((peer: PeerIdentity, up: boolean) => void)[] = [];

  constructor(mesh: MemoryMesh, self: PeerIdentity) {
    this.#mesh = mesh;
    this.self = self;
  }

  send(toNodeId: string, parts: readonly Uint8Array[]): boolean {
    return this.#mesh.deliver(this, toNodeId, Buffer.concat(parts));
  }

  queuedBytes(): number {
    return 0;
  }

  isUp(nodeId: string): boolean {
    return !this.gone && this.#mesh.linked(this.self.nodeId, nodeId);
  }

  isAbsent(nodeId: string): boolean {
    return this.absent.has(nodeId);
  }

  onMessage(handler: MessageHandler): void {
    this.#handler = handler;
  }

  onLinkChange(handler: (peer: PeerIdentity, up: boolean) => void): void {
    this.#linkHandlers.push(handler);
  }

  received(from: PeerIdentity, message: Uint8Array): void {
    this.#handler(from, message, { giveBack: () => void message.fill(USED_AGAIN) });
  }

  changed(peer: PeerIdentity, up: boolean): void {
    for (const handler of this.#linkHandlers) handler(peer, up);
  }
}
