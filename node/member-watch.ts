import { Agent, request } from 'node:https';
import { checkServerIdentity } from 'node:tls';
import { type MembersDocument, membersSchema } from '../api/contract/join.ts';
import { peerRoutes } from '../api/contract/peer-content.ts';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { findSchemaFault } from '../base/schema-check.ts';
import type { MemberAddress } from '../cluster/membership.ts';
import { MAX_DOCUMENT_BYTES } from './peer/content-limits.ts';
import { MEMBERS_ASKED_EVERY_MS, MEMBERS_REQUEST_TIMEOUT_MS } from './peer/limits.ts';

export interface MemberWatchOptions {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Those that might be asked. */
  readonly peers: () => readonly MemberAddress[];
  readonly learn: (members: readonly MemberAddress[]) => void;
  /** This node has been removed from the cluster, says a member. */
  readonly onRemoved: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Asks the others whom the cluster consists of, where the configuration as read here may be too old to tell: at the
 * start, and when a node calls that nobody here knows. Otherwise a node that has been away could refuse the very
 * leader that would bring it up to date.
 */
export class MemberWatch {
  readonly #options: MemberWatchOptions;
  readonly #agent = new Agent({ maxSockets: 1 });
  #asking = false;
  #lastMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: MemberWatchOptions) {
    this.#options = options;
  }

  /** Asks, unless that was done a moment ago. Never fails: whoever is not reached may be asked again. */
  ask(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#asking || this.#stopped || nowMs - this.#lastMs < MEMBERS_ASKED_EVERY_MS) return;
    this.#lastMs = nowMs;
    this.#asking = true;
    void this.#askAll().finally(() => {
      this.#asking = false;
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#agent.destroy();
  }

  async #askAll(): Promise<void> {
    for (const peer of this.#options.peers()) {
      if (this.#stopped) return;
      try {
        const { members, removed } = await this.#askOne(peer);
        if (removed.includes(this.#options.nodeId)) this.#options.onRemoved();
        else this.#options.learn(members);
        return;
      } catch (error) {
        const fields = { peer: peer.nodeId, message: describeError(error) };
        this.#options.logger.debug('members.not-told', fields);
      }
    }
  }

  #askOne(peer: MemberAddress): Promise<MembersDocument> {
    const { tls, clusterId } = this.#options;
    const [host = '', port = ''] = peer.endpoints.api.split(':');
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host,
          port: Number(port),
          path: peerRoutes.members.path,
          agent: this.#agent,
          ...tls,
          minVersion: 'TLSv1.3',
          signal: AbortSignal.timeout(MEMBERS_REQUEST_TIMEOUT_MS),
          checkServerIdentity: (name, certificate) =>
            certificate.subject.O === clusterId && certificate.subject.CN === peer.nodeId
              ? checkServerIdentity(name, certificate)
              : new Error(`another node answers at ${peer.endpoints.api}`),
        },
        (response) => {
          collect(response)
            .then((text) => resolve(this.#read(response.statusCode ?? 0, text)))
            .catch(reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  #read(status: number, text: string): MembersDocument {
    const document: unknown = JSON.parse(text);
    if (status === 200 && findSchemaFault(membersSchema, document) === undefined) {
      return document as MembersDocument;
    }
    const { code } = (document as { error?: { code?: string } }).error ?? {};
    if (code === 'node-removed') return { members: [], removed: [this.#options.nodeId] };
    throw new Error(`HTTP status ${status}, ${code ?? 'no reason given'}`);
  }
}

async function collect(response: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response) {
    length += part.length;
    if (length > MAX_DOCUMENT_BYTES) throw new Error('the answer is too long');
    parts.push(part);
  }
  return Buffer.concat(parts, length).toString('utf8');
}
