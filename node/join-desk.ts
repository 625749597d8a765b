import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { type JoinAnswerDocument, type JoinRequestDocument, joinStatement } from '../api/contract/join.ts';
import type { MembershipServices } from '../api/ports.ts';
import { propose } from '../api/serve-route.ts';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { RandomSource } from '../base/random.ts';
import type { ClusterView } from '../cluster/ports.ts';
import type { ClusterState, NodeEndpoints } from '../cluster/state/model.ts';
import { certificateSha256, signNodeCertificate } from './setup/certificates.ts';
import { isLoopback, parseHostAddress } from './setup/init-values.ts';
import { encodeJoinToken, newJoinSecret, secretSha256 } from './setup/join-token.ts';
import type { NodeDirectory } from './setup/node-directory.ts';

/**
 * Lets new nodes in. Whoever shows the secret of a join token, and that it has the private half of the key it names,
 * becomes a node by one entry of the cluster log, and is given a certificate and what every node has on its disk.
 */
export class JoinDesk implements MembershipServices {
  readonly #cluster: ClusterView;
  readonly #directory: NodeDirectory;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #logger: Logger;

  constructor(context: {
    readonly cluster: ClusterView;
    readonly directory: NodeDirectory;
    readonly clock: Clock;
    readonly random: RandomSource;
    readonly logger: Logger;
  }) {
    this.#cluster = context.cluster;
    this.#directory = context.directory;
    this.#clock = context.clock;
    this.#random = context.random;
    this.#logger = context.logger;
  }

  nowMs(): number {
    return this.#clock.wallMs();
  }

  async authority(): Promise<{ clusterId: string; certificate: string }> {
    const { genesis, tls } = this.#directory;
    return { clusterId: genesis.clusterId, certificate: tls.ca };
  }

  async createJoinToken(
    lifetimeMs: number,
    by: string,
  ): Promise<{ id: string; token: string; expiresAt: string }> {
    this.#authorityKey();
    const { id, secret, secretSha256: hash } = newJoinSecret(this.#random);
    const atMs = this.nowMs();
    const expiresAtMs = atMs + lifetimeMs;
    await propose(this.#cluster, {
      type: 'createJoinToken',
      id,
      secretSha256: hash,
      expiresAtMs,
      atMs,
      by,
    });
    const state = this.#cluster.state();
    const token = encodeJoinToken({
      clusterName: state.clusterName,
      clusterId: state.clusterId,
      apiEndpoints: Object.values(state.nodes)
        .filter((node) => node.status === 'up')
        .map((node) => node.endpoints.api),
      authoritySha256: certificateSha256(this.#directory.tls.ca),
      id,
      secret,
    });
    return { id, token, expiresAt: new Date(expiresAtMs).toISOString() };
  }

  async join(request: JoinRequestDocument): Promise<JoinAnswerDocument> {
    const authorityKey = this.#authorityKey();
    const state = this.#cluster.state();
    checkRequest(request, state);
    const publicKey = provenKey(request, state.clusterId);
    const added = (await propose(this.#cluster, {
      type: 'addNode',
      nodeId: request.nodeId,
      endpoints: request.endpoints,
      secretSha256: secretSha256(request.secret),
      keySha256: createHash('sha256')
        .update(publicKey.export({ type: 'spki', format: 'der' }))
        .digest('hex'),
      atMs: this.nowMs(),
    })) as { raftId: number };
    this.#logger.info('node.joined', { nodeId: request.nodeId, raftId: added.raftId });
    return this.#answer(request, added.raftId, publicKey, authorityKey);
  }

  #answer(
    { nodeId, address }: JoinRequestDocument,
    raftId: number,
    publicKey: KeyObject,
    authorityKey: string,
  ): JoinAnswerDocument {
    const { genesis, tls, clusterSecret } = this.#directory;
    const { clusterId, clusterName, nodes } = this.#cluster.state();
    return {
      clusterName,
      clusterId,
      raftId,
      certificate: signNodeCertificate(
        { privateKeyPem: authorityKey },
        { nodeId, clusterId, addresses: [address], publicKey },
        { nowMs: this.nowMs() },
        this.#random,
      ),
      authority: tls.ca,
      authorityKey,
      clusterSecret,
      genesis: JSON.stringify(genesis),
      members: Object.values(nodes).map((node) => ({
        nodeId: node.nodeId,
        raftId: node.raftId,
        endpoints: { ...node.endpoints },
      })),
    };
  }

  #authorityKey(): string {
    const { authorityKey } = this.#directory;
    if (authorityKey !== undefined) return authorityKey;
    throw new OperationError('this node has no key to sign certificates with', {
      kind: 'unavailable',
      code: 'no-authority-key',
      got: this.#directory.config.nodeId,
      accepted: 'a node with tls/ca.key in its directory: the ca.key that "bootfabric init" wrote',
    });
  }
}

/** What could not work is refused before the token is spent on it. */
function checkRequest(request: JoinRequestDocument, state: ClusterState): void {
  parseHostAddress('--address', request.address);
  for (const [name, endpoint] of Object.entries(request.endpoints) as [keyof NodeEndpoints, string][]) {
    if (endpoint.startsWith(`${request.address}:`)) continue;
    throw new OperationError(`${name} would be at ${endpoint}, which is not on the new node`, {
      kind: 'invalid',
      code: 'bad-endpoint',
      got: endpoint,
      accepted: `${request.address}:PORT`,
    });
  }
  const moving = Object.values(state.portalGroups).find((g) => !isLoopback(parseHostAddress('', g.address)));
  if (moving !== undefined && request.portalInterface === null) {
    throw new OperationError(
      `--portal-interface is missing: ${moving.address} must be put on a network interface`,
      {
        kind: 'invalid',
        code: 'no-portal-interface',
        got: moving.address,
        accepted: '--portal-interface NAME',
      },
    );
  }
}

/** @throws OperationError unless the request is signed by the key that it names, of the kind that nodes have */
function provenKey({ publicKey, proof, nodeId, secret }: JoinRequestDocument, clusterId: string): KeyObject {
  const statement = joinStatement(clusterId, nodeId, secretSha256(secret));
  try {
    const key = createPublicKey(publicKey);
    const isP256 = key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
    if (isP256 && verify('sha256', Buffer.from(statement), key, Buffer.from(proof, 'base64'))) return key;
  } catch {
    // No key at all: told below.
  }
  throw new OperationError('the request is not signed by the key that it names', {
    kind: 'invalid',
    code: 'bad-proof',
    accepted: 'a P-256 public key, and a signature by it of what is asked',
  });
}
