import { createSocket, type Socket } from 'node:dgram';
import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { PeerIdentity } from '../../base/peer-transport.ts';
import { decodeLastWord, digestOfLastWord } from './last-word.ts';
import { MAX_EARLY_LAST_WORDS } from './limits.ts';

export interface LastWordsOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** The process, of those that have ever said hello, that announced a last word with this digest. */
  readonly whose: (digest: string) => PeerIdentity | undefined;
  readonly logger: Logger;
  readonly counters: Counters;
}

/**
 * Hears the last words of other nodes, which their guardians send. To be started before anybody has said hello: a process
 * that has ended says nothing a second time.
 */
export class LastWords {
  readonly #options: LastWordsOptions;
  /** By node: the process whose end was told last. */
  readonly #told = new Map<string, PeerIdentity>();
  readonly #handlers: ((peer: PeerIdentity) => void)[] = [];
  /** Digests of words of processes that have not said hello, as far as has been read; the oldest first. */
  readonly #early = new Set<string>();
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
    const digest = word === undefined ? undefined : digestOfLastWord(word);
    const peer = digest === undefined ? undefined : this.#options.whose(digest);
    if (peer !== undefined) {
      this.#hasEnded(peer);
      return;
    }
    this.#options.counters.add('peer.last-words.unknown');
    if (digest !== undefined) this.#remember(digest);
  }

  /** A process has said hello. Its last word may have been read before that, where this thread was held up. */
  greeted({ nodeId, incarnation, lastWordDigest = '' }: PeerIdentity & { lastWordDigest?: string }): void {
    if (this.#early.delete(lastWordDigest)) this.#hasEnded({ nodeId, incarnation });
  }

  /** @param handler called once for each process; at once for those whose ends have been told */
  onEnded(handler: (peer: PeerIdentity) => void): void {
    this.#handlers.push(handler);
    for (const peer of this.#told.values()) handler(peer);
  }

  #hasEnded(peer: PeerIdentity): void {
    if (this.#told.get(peer.nodeId)?.incarnation === peer.incarnation) return;
    this.#told.set(peer.nodeId, peer);
    for (const handler of this.#handlers) handler(peer);
  }

  #remember(digest: string): void {
    this.#early.delete(digest);
    this.#early.add(digest);
    const [oldest] = this.#early;
    if (this.#early.size > MAX_EARLY_LAST_WORDS && oldest !== undefined) this.#early.delete(oldest);
  }

  stop(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}
