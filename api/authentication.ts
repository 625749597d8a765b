import { createHash, timingSafeEqual } from 'node:crypto';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { ClusterView } from '../cluster/ports.ts';
import type { TokenRecord } from '../cluster/state/model.ts';
import { ApiError } from './api-error.ts';
import { MAX_TOKEN_LENGTH } from './limits.ts';

/**
 * Who a request comes from: administrators show a token (RFC 6750 §2.1), nodes a certificate of the
 * cluster's own authority.
 */

/** @throws ApiError "no-token" or "bad-token" */
export function checkToken(authorization: string | undefined, tokens: readonly TokenRecord[]): TokenRecord {
  const token = /^Bearer +([^\s]+)$/i.exec(authorization ?? '')?.[1];
  if (token === undefined) {
    throw new ApiError('no-token', 'no token was sent', {
      accepted: 'the header "Authorization: Bearer TOKEN", the token being in the administrator profile',
    });
  }
  const record = token.length > MAX_TOKEN_LENGTH ? undefined : findToken(token, tokens);
  if (record !== undefined) return record;
  throw new ApiError('bad-token', 'the token is not one of this cluster', {
    accepted: 'the token of an administrator profile of this cluster',
  });
}

/** Compares with every record, in constant time, so that an answer's delay tells nothing. */
function findToken(token: string, tokens: readonly TokenRecord[]): TokenRecord | undefined {
  const given = createHash('sha256').update(token).digest();
  let found: TokenRecord | undefined;
  for (const record of tokens) {
    const known = Buffer.from(record.sha256, 'hex');
    if (known.length === given.length && timingSafeEqual(known, given)) found = record;
  }
  return found;
}

/**
 * The node at the other end of a connection, as its certificate says; also one that was removed and votes still.
 * @throws ApiError "not-a-node" or "node-removed"
 */
export function checkPeer(socket: TLSSocket, cluster: Pick<ClusterView, 'state' | 'hasLeft'>): string {
  const state = cluster.state();
  const subject = (socket.getPeerCertificate() as Partial<PeerCertificate>).subject;
  const nodeId = socket.authorized && subject?.O === state.clusterId ? subject.CN : undefined;
  if (typeof nodeId === 'string' && Object.hasOwn(state.nodes, nodeId)) return nodeId;
  if (typeof nodeId === 'string' && Object.hasOwn(state.removedNodes, nodeId)) {
    if (!cluster.hasLeft(nodeId)) return nodeId;
    throw new ApiError('node-removed', `node ${nodeId} was removed from the cluster`, { got: nodeId });
  }
  throw new ApiError('not-a-node', 'the connection shows no certificate of a node of this cluster', {
    ...(subject?.CN === undefined ? {} : { got: subject.CN }),
    accepted: 'a certificate of the cluster’s authority, as bootfabric init makes for each node',
  });
}
