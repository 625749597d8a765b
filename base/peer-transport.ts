/**
 * Messages between the nodes of one cluster: ordered and whole while a link is up, lost when it breaks.
 * Implemented over mutual TLS in node/peer and in memory by tests and the simulator. A node to which there are several
 * links is named by them wherever it is asked for one.
 */
export interface PeerTransport {
  /**
   * Queues one message, given in parts that are sent as one. They are copied: the caller may use their memory again.
   * @returns false when there is no link or its bounded queue is full; the message is then dropped
   */
  send(toNodeId: string, parts: readonly Uint8Array[]): boolean;
  /** Bytes accepted by send and not yet given to the operating system. */
  queuedBytes(toNodeId: string): number;
  isUp(nodeId: string): boolean;
  /**
   * Whether the peer's own host says that no process listens there: the process is gone, which mere silence
   * does not tell. False while nothing is known.
   */
  isAbsent(nodeId: string): boolean;
  /** One handler; set before start. */
  onMessage(handler: MessageHandler): void;
  /**
   * Called on every change of a link; `up: false` also when the peer returns as another incarnation. `link` is its
   * name; absent: the node's.
   */
  onLinkChange(handler: (peer: PeerIdentity, up: boolean, link?: string) => void): void;
}

/**
 * The message is the handler's to keep. Where `lent` is given, its memory is used again once the handler gives it back,
 * which it need not do.
 */
export type MessageHandler = (from: PeerIdentity, message: Uint8Array, lent?: LentMemory) => void;

export interface LentMemory {
  /** To be called once, when nobody looks at the message, or any part of it, any more. */
  giveBack(): void;
}

export interface PeerIdentity {
  readonly nodeId: string;
  /** Distinguishes one start of the node from the next. */
  readonly incarnation: string;
}
