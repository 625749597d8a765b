import type { TLSSocket } from 'node:tls';
import type { Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import type { Logger } from '../../base/logger.ts';
import type { MessageHandler } from '../../base/peer-transport.ts';
import type { RandomSource } from '../../base/random.ts';
import type { CertifiedIdentity } from './admission.ts';
import type { Hello, ProtocolRange } from './hello-codec.ts';
import { MAX_REMEMBERED_COMPLAINTS } from './limits.ts';

/** PEM texts. */
export interface PeerCredentials {
  /** Certificate of the cluster's own authority; nothing else is trusted. */
  readonly ca: string;
  /** This node's certificate: subject CN is the node id, O the cluster id. */
  readonly cert: string;
  readonly key: string;
}

/** What all connections of one mesh share. */
export interface LinkContext {
  readonly self: Hello;
  /** What this side speaks. */
  readonly protocol: ProtocolRange;
  readonly credentials: PeerCredentials;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly complaints: Complaints;
  readonly peerIds: () => ReadonlySet<string>;
  readonly removedIds: () => ReadonlySet<string>;
  /** A node that shows a certificate of this cluster, but that nobody here knows, has dialled us. */
  readonly metStranger: (nodeId: string) => void;
  /** A member has said hello and was let in. */
  readonly greeted: (hello: Hello) => void;
  /** A member says that this node has been removed from the cluster. */
  readonly toldRemoved: () => void;
  /** The incarnation under which a peer has dialled us and been heard just now. */
  readonly connected: (nodeId: string) => string | undefined;
  readonly deliver: MessageHandler;
  /** See PeerMeshOptions. */
  readonly lendsMemory: boolean;
}

/** Says a thing that repeats with every reconnection once, until it has been mended. */
export class Complaints {
  readonly #logger: Logger;
  readonly #said = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  once(about: string, event: string, fields: Readonly<Record<string, unknown>>): void {
    const key = `${about} ${event} ${String(fields['code'])}`;
    if (this.#said.has(key)) return;
    if (this.#said.size >= MAX_REMEMBERED_COMPLAINTS) this.#said.clear();
    this.#said.add(key);
    this.#logger.warn(event, fields);
  }

  mended(about: string): void {
    for (const key of this.#said) if (key.startsWith(`${about} `)) this.#said.delete(key);
  }
}

/** @returns what the other side's certificate, verified against the cluster's authority, says */
export function certifiedIdentity(socket: TLSSocket): CertifiedIdentity {
  // Empty when there is none, whatever its type says.
  const subject = socket.getPeerCertificate().subject as Readonly<Record<string, unknown>> | undefined;
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  return { commonName: text(subject?.['CN']), organization: text(subject?.['O']) };
}
