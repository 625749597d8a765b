import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeLastWord } from '../peer/last-word.ts';
import type { LastWordOrder } from './guardian-protocol.ts';
import { END_POLL_MS, END_WAIT_MS, LAST_WORD_AT_MS } from './limits.ts';

/**
 * How a guardian finds out that the node's process has ended, and makes it known. That the pipe has ended does not say so:
 * its thread may have closed it. A process gets another parent only when no thread of the one before can run
 * any more (Linux, kernel/exit.c: children go to another live thread of the same process first).
 */
export class NodeEnd {
  readonly #parentPid: () => number;
  #socket: Socket | undefined;
  #isChild = false;

  /** @param parentPid of this process, at this moment */
  constructor(parentPid: () => number) {
    this.#parentPid = parentPid;
  }

  /** To be called while the node is there, so that later nothing need be set up. */
  prepare({ nodePid }: LastWordOrder): void {
    // Where it is not our parent to begin with, we shall never know.
    this.#isChild = this.#parentPid() === nodePid;
    if (this.#socket !== undefined) return;
    this.#socket = createSocket('udp4');
    // Whoever is not told finds out by silence.
    this.#socket.on('error', () => {});
    this.#socket.bind();
  }

  /** Resolves when it has been said, or cannot be. */
  async testify(order: LastWordOrder): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || !(await this.#hasEnded(order.nodePid))) return;
    const datagram = encodeLastWord(Buffer.from(order.lastWord, 'hex'));
    let passedMs = 0;
    for (const atMs of LAST_WORD_AT_MS) {
      await sleep(atMs - passedMs);
      passedMs = atMs;
      for (const { host, port } of order.to) socket.send(datagram, port, host, () => {});
    }
    // What was handed over last is on its way by the next turn.
    await sleep(END_POLL_MS);
  }

  async #hasEnded(nodePid: number): Promise<boolean> {
    if (!this.#isChild) return false;
    for (let waitedMs = 0; this.#parentPid() === nodePid; waitedMs += END_POLL_MS) {
      if (waitedMs > END_WAIT_MS) return false;
      await sleep(END_POLL_MS);
    }
    return true;
  }
}
