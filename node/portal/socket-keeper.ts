import type { Socket } from 'node:net';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { KeptSocket } from '../iscsi/ports.ts';
import { canPassSockets, descriptorOf, passSocket } from '../net/socket-passing.ts';
import { abortConnection } from '../net/tcp-ending.ts';
import type { SocketOrder } from './guardian-protocol.ts';
import { endpointOf } from './portal-notice.ts';

/** Labels are of 32 bits: a worker's number, and one that comes round long after the socket that had it was closed. */
const LABELS_OF_A_WORKER = 2 ** 26;

/** Gives the guardian the sockets of one worker to hold, and keeps up the pretence that nobody does. */
export class SocketKeeper {
  readonly #passage: () => number | undefined;
  readonly #order: (order: SocketOrder) => void;
  readonly #logger: Logger;
  readonly #firstLabel: number;
  #count = 0;
  #hasComplained = false;

  /**
   * @param options.passage descriptor by which this process passes sockets to the guardian; undefined: none are kept
   * @param options.order gives it an order, after all that were given before
   * @param options.holder this worker, of up to 64
   */
  constructor(options: {
    passage: () => number | undefined;
    order: (order: SocketOrder) => void;
    logger: Logger;
    holder?: number;
  }) {
    this.#passage = options.passage;
    this.#order = options.order;
    this.#logger = options.logger;
    this.#firstLabel = (options.holder ?? 0) * LABELS_OF_A_WORKER;
  }

  /** @returns undefined where that cannot be; the connection then ends with this process */
  keep(socket: Socket): KeptSocket | undefined {
    const passage = canPassSockets() ? this.#passage() : undefined;
    const fd = descriptorOf(socket);
    const portal = endpointOf(`${socket.localAddress}:${socket.localPort}`);
    const initiator = endpointOf(`${socket.remoteAddress}:${socket.remotePort}`);
    if (passage === undefined || fd === undefined || portal === undefined || initiator === undefined)
      return undefined;
    const label = this.#firstLabel + (this.#count++ % LABELS_OF_A_WORKER);
    try {
      if (!passSocket(passage, label, fd)) throw new Error('the guardian takes none just now');
    } catch (error) {
      this.#complain(error);
      return undefined;
    }
    this.#order({ order: 'keep', socket: label, portal, initiator });
    return {
      abort: () => {
        // The number may be another socket's once this one is closed.
        const open = descriptorOf(socket);
        if (open !== undefined) abortConnection(open);
      },
      release: () => this.#order({ order: 'release', socket: label }),
    };
  }

  /** Once: it costs an initiator a second at a death, and nothing else. */
  #complain(error: unknown): void {
    if (this.#hasComplained) return;
    this.#hasComplained = true;
    this.#logger.warn('guardian.socket-not-kept', { reason: describeError(error) });
  }
}
