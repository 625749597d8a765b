import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, invariant } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { MessageHandler, PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';
import type { RandomSource } from '../../base/random.ts';
import { FOREIGN_CERTIFICATE } from './admission.ts';
import { encodeFrame, FrameType } from './frame-codec.ts';
import { encodeRefusal, type Hello, PROTOCOL, type ProtocolRange } from './hello-codec.ts';
import { InboundLink } from './inbound-link.ts';
import {
  HANDSHAKE_TIMEOUT_MS,
  HEARD_JUST_NOW_MS,
  MAX_INBOUND_CONNECTIONS,
  REFUSAL_LINGER_MS,
} from './limits.ts';
import { Complaints, type LinkContext, type PeerCredentials } from './link-context.ts';
import { linkName, OutboundLink, type PeerAddress } from './outbound-link.ts';

export interface PeerMeshOptions {
  readonly self: Omit<Hello, 'service'>;
  /** Keeps listeners with different work apart; both ends must say the same. Default "cluster". */
  readonly service?: string;
  /** Versions of the protocol; default: those of this program. */
  readonly protocol?: ProtocolRange;
  /** Port 0 takes any; see `port`. */
  readonly listen: { readonly host: string; readonly port: number };
  /** The other members, each once, or once for each worker of theirs. May also be given, or changed, by setPeers. */
  readonly peers: readonly PeerAddress[];
  readonly credentials: PeerCredentials;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  /** Messages are received into memory that their handler gives back: what it keeps of one holds on to many. */
  readonly lendsMemory?: boolean;
  /** See LinkContext. */
  readonly metStranger?: (nodeId: string) => void;
  readonly toldRemoved?: () => void;
  readonly greeted?: (hello: Hello) => void;
}

/** @param link its name; see linkName */
type LinkHandler = (peer: PeerIdentity, up: boolean, link: string) => void;

/**
 * Links to all other members over mutual TLS. Each node dials each other and sends only on what it dialled,
 * so two nodes have two connections and never have to agree on which one to keep. A link counts as up
 * while the dialled connection stands and both sides have said who they are. Where members have several workers, each
 * has links of its own, by names of their own.
 */
export class PeerMesh implements PeerTransport {
  readonly #options: PeerMeshOptions;
  readonly #context: LinkContext;
  /** By the names of links. */
  readonly #outbound = new Map<string, OutboundLink>();
  readonly #inbound = new Set<InboundLink>();
  #server: Server | undefined;
  #peers: readonly PeerAddress[];
  #peerIds: ReadonlySet<string> = new Set();
  #removedIds: ReadonlySet<string> = new Set();
  /** Of each member, the last that has said hello. */
  readonly #hellos = new Map<string, Hello>();
  #handler: MessageHandler = () => {};
  readonly #linkHandlers: LinkHandler[] = [];

  constructor(options: PeerMeshOptions) {
    const { self, service = 'cluster', logger } = options;
    this.#options = options;
    this.#peers = options.peers;
    this.#context = {
      ...options,
      self: { service, ...self },
      protocol: options.protocol ?? PROTOCOL,
      complaints: new Complaints(logger),
      peerIds: () => this.#peerIds,
      removedIds: () => this.#removedIds,
      metStranger: options.metStranger ?? (() => {}),
      greeted: (hello) => {
        this.#hellos.set(hello.nodeId, hello);
        options.greeted?.(hello);
      },
      toldRemoved: options.toldRemoved ?? (() => {}),
      connected: (nodeId) => this.#connected(nodeId),
      deliver: (from, message, lent) => this.#handler(from, message, lent),
      lendsMemory: options.lendsMemory ?? false,
    };
  }

  /** Listens and begins to dial. @throws when the address cannot be listened at */
  async start(): Promise<void> {
    const { credentials, listen, logger } = this.#options;
    const server = createServer({
      ...credentials,
      requestCert: true,
      // #accept refuses what is not authorized; TLS itself would neither say why nor know from where it came.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    server.maxConnections = MAX_INBOUND_CONNECTIONS;
    server.on('drop', () => this.#context.counters.add('peer.inbound.busy'));
    this.#server = server;
    server.on('secureConnection', (socket) => this.#accept(socket));
    server.on('tlsClientError', (error, socket) => {
      this.#context.counters.add('peer.inbound.tls-error');
      const from = socket.remoteAddress ?? 'unknown';
      this.#context.complaints.once(from, 'peer.inbound.tls-error', {
        address: from,
        code: (error as { code?: string }).code ?? 'error',
        message: describeError(error),
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(listen.port, listen.host, () => {
        server.off('error', reject);
        server.on('error', (error) => logger.error('peer.listen.failed', { message: describeError(error) }));
        resolve();
      });
    });
    this.setPeers(this.#peers, this.#removedIds);
  }

  /** The port listened at. */
  get port(): number {
    const address = this.#server?.address();
    invariant(typeof address === 'object' && address !== null, 'the mesh is not listening');
    return address.port;
  }

  /**
   * Replaces the other members: new and moved ones are dialled, links to the rest stay.
   * @param removedIds nodes that are told so when they dial
   */
  setPeers(peers: readonly PeerAddress[], removedIds: ReadonlySet<string> = this.#removedIds): void {
    this.#peers = peers;
    this.#removedIds = removedIds;
    if (this.#server?.listening !== true) return;
    const others = peers.filter((p) => p.nodeId !== this.#options.self.nodeId);
    this.#peerIds = new Set(others.map((p) => p.nodeId));
    for (const [name, link] of this.#outbound) {
      const same = others.some(
        (p) => linkName(p) === name && p.host === link.peer.host && p.port === link.peer.port,
      );
      if (same) continue;
      this.#outbound.delete(name);
      link.stop();
    }
    for (const nodeId of this.#hellos.keys()) if (!this.#peerIds.has(nodeId)) this.#hellos.delete(nodeId);
    for (const link of this.#inbound) {
      if (link.identity !== undefined && !this.#peerIds.has(link.identity.nodeId)) link.close();
    }
    for (const peer of others) {
      const name = linkName(peer);
      if (this.#outbound.has(name)) continue;
      const link = new OutboundLink(peer, this.#context, (identity, up) => this.#changed(identity, up, name));
      this.#outbound.set(name, link);
      link.start();
    }
  }

  /** Closes every connection and the listener. */
  async stop(): Promise<void> {
    for (const link of this.#outbound.values()) link.stop();
    for (const link of this.#inbound) link.close();
    const server = this.#server;
    if (server?.listening === true) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  send(link: string, parts: readonly Uint8Array[]): boolean {
    return this.#outbound.get(link)?.send(parts) ?? false;
  }

  queuedBytes(link: string): number {
    return this.#outbound.get(link)?.queuedBytes ?? 0;
  }

  isUp(link: string): boolean {
    return this.#outbound.get(link)?.identity !== undefined;
  }

  /** The version of the protocol that is spoken over a link; undefined: there is none. */
  protocolVersion(link: string): number | undefined {
    return this.#outbound.get(link)?.protocolVersion;
  }

  isAbsent(link: string): boolean {
    return this.#outbound.get(link)?.isAbsent ?? false;
  }

  /** The process whose last word has this digest, of those that said hello last. */
  whoseLastWord(digest: string): PeerIdentity | undefined {
    for (const { nodeId, incarnation, lastWordDigest } of this.#hellos.values()) {
      if (lastWordDigest === digest) return { nodeId, incarnation };
    }
    return undefined;
  }

  onMessage(handler: MessageHandler): void {
    this.#handler = handler;
  }

  onLinkChange(handler: LinkHandler): void {
    this.#linkHandlers.push(handler);
  }

  #accept(socket: TLSSocket): void {
    if (!socket.authorized) {
      this.#refuseForeign(socket);
      return;
    }
    const link = new InboundLink(
      socket,
      this.#context,
      (known, peer) => this.#met(known, peer),
      (closed) => this.#inbound.delete(closed),
    );
    this.#inbound.add(link);
  }

  /** Whoever it is, nothing of what it says is read. */
  #refuseForeign(socket: TLSSocket): void {
    const { counters, complaints, timers } = this.#context;
    const address = socket.remoteAddress ?? 'unknown';
    const refusal = { code: 'foreign-certificate', message: FOREIGN_CERTIFICATE };
    counters.add('peer.inbound.refused');
    complaints.once(address, 'peer.inbound.refused', { address, ...refusal });
    socket.on('error', () => counters.add('peer.inbound.error'));
    socket.end(encodeFrame(FrameType.refusal, encodeRefusal(refusal)));
    timers.setTimer(REFUSAL_LINGER_MS, () => socket.destroy());
  }

  /** A peer has dialled us: its older connections are dead, and so is ours to its older incarnation. */
  #met(link: InboundLink, peer: PeerIdentity): void {
    for (const other of this.#inbound) {
      if (other === link || other.identity?.nodeId !== peer.nodeId) continue;
      if (other.worker === link.worker || other.identity.incarnation !== peer.incarnation) other.close();
    }
    for (const outbound of this.#outbound.values()) {
      if (outbound.peer.nodeId === peer.nodeId) outbound.met(peer.incarnation);
    }
  }

  #connected(nodeId: string): string | undefined {
    const nowMs = this.#options.clock.monotonicMs();
    for (const { identity, lastReceivedMs } of this.#inbound) {
      if (identity?.nodeId === nodeId && nowMs - lastReceivedMs < HEARD_JUST_NOW_MS)
        return identity.incarnation;
    }
    return undefined;
  }

  #changed(peer: PeerIdentity, up: boolean, name: string): void {
    this.#options.logger.info(up ? 'peer.up' : 'peer.down', {
      ...peer,
      ...(name === peer.nodeId ? {} : { link: name }),
      protocol: this.protocolVersion(name),
    });
    if (up) {
      for (const link of this.#inbound) {
        const known = link.identity;
        if (known?.nodeId === peer.nodeId && known.incarnation !== peer.incarnation) link.close();
      }
    }
    for (const handler of this.#linkHandlers) handler(peer, up, name);
  }
}
