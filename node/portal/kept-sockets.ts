import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PassedSocket } from '../net/socket-passing.ts';
import { type BareSegment, TCP_RST } from '../net/tcp-segment.ts';
import type { KeepOrder } from './guardian-protocol.ts';
import { MAX_KEPT_SOCKETS } from './limits.ts';

export interface KeptSocketPorts {
  /** The next socket that the node has passed; undefined: there is none. */
  receive(): PassedSocket | undefined;
  /** As close(2). */
  close(fd: number): void;
  /** @returns numbers with which the connection can be reset later; see closeSilently */
  closeSilently(fd: number): readonly number[] | undefined;
}

/** The sockets that a guardian holds open beside its node, by their numbers (docs/adr/0019-a-death-is-not-told-too-soon.md). */
export class KeptSockets {
  readonly #ports: KeptSocketPorts;
  readonly #kept = new Map<number, { readonly fd: number; readonly order: KeepOrder }>();
  /** Whose orders take another way, through another thread of the node. */
  readonly #early = new Map<number, number>();

  constructor(ports: KeptSocketPorts) {
    this.#ports = ports;
  }

  /** Takes the socket that has been passed for this order. Beyond the bound it is given back: it ends with the node. */
  keep(order: KeepOrder): void {
    const label = order.socket;
    this.#receiveUpTo(label);
    const fd = this.#early.get(label);
    if (fd === undefined) return;
    this.#early.delete(label);
    this.#kept.set(label, { fd, order });
  }

  /** The node has closed its own: the kernel now does what that node left to it, be it an end or a reset. */
  close(socket: number): void {
    const fd = this.#kept.get(socket)?.fd;
    if (fd === undefined) return;
    this.#kept.delete(socket);
    this.#ports.close(fd);
  }

  /**
   * The node is gone, and its addresses are off: closes all, of which nothing is sent.
   * @returns what tells their initiators that they have to come again
   */
  async forsake(): Promise<readonly BareSegment[]> {
    const resets: BareSegment[] = [];
    for (const [socket, { fd, order }] of this.#kept) {
      this.#kept.delete(socket);
      const { portal: from, initiator: to } = order;
      const sequences = this.#ports.closeSilently(fd) ?? [];
      resets.push(...sequences.map((sequence) => ({ from, to, flags: TCP_RST, sequence })));
      // The last word is said meanwhile.
      await nextTurn();
    }
    for (const fd of this.#early.values()) this.#ports.closeSilently(fd);
    this.#early.clear();
    return resets;
  }

  #receiveUpTo(label: number): void {
    if (this.#early.has(label)) return;
    for (let passed = this.#ports.receive(); passed !== undefined; passed = this.#ports.receive()) {
      const isFull = this.#kept.size + this.#early.size >= MAX_KEPT_SOCKETS;
      const isKnown = this.#kept.has(passed.label) || this.#early.has(passed.label);
      if (passed.fd !== undefined) {
        if (isFull || isKnown) this.#ports.close(passed.fd);
        else this.#early.set(passed.label, passed.fd);
      }
      if (passed.label === label) return;
    }
  }
}
