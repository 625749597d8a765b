import { createSocket, type Socket } from 'node:dgram';
import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { PeerIdentity } from '../../base/peer-transport.ts';
import { decodeLastWord, digestOfLastWord } from './last-word.ts';

export interface LastWordsOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** The process, of those that have ever said hello, that announced a last word with this digest. */
  readonly whose: (digest: string) => PeerIdentity | undefined;
  /** Called once for each process. */
  readonly onEnded: (peer: PeerIdentity) => void;
  readonly logger: Logger;
  readonly counters: Counters;
}

/** Hears the last words of other nodes, which their guardians send. */
export class LastWords {
  readonly #options: LastWordsOptions;
  /** By node: the incarnation whose end was told last. */
  readonly #told = new Map<string, string>();
  #socket: Socket | undefined;

  constructor(options: LastWordsOptions) {
    this.#options = options;
  }

  /** Without it deaths are found out by silence, so a failure is only complained of. */
  start(): Promise<void> {
    const { listen, logger } = this.#options;
    const socket = createSocket('udp4');
    this.#socket = socket;
    socket.on('message', (datagram) => this.receive(datagram));
    return new Promise((resolve) => {
      socket.on('error', (error) => {
        logger.warn('peer.last-words.failed', { ...listen, message: describeError(error) });
        resolve();
      });
      socket.bind(listen.port, listen.host, () => resolve());
    });
  }

  receive(datagram: Uint8Array): void {
    const word = decodeLastWord(datagram);
    const peer = word === undefined ? undefined : this.#options.whose(digestOfLastWord(word));
    if (peer === undefined) {
      this.#options.counters.add('peer.last-words.unknown');
      return;
    }
    if (this.#told.get(peer.nodeId) === peer.incarnation) return;
    this.#told.set(peer.nodeId, peer.incarnation);
    this.#options.onEnded(peer);
  }

  stop(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}
