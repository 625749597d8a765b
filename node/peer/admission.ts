import type { Hello, Refusal } from './hello-codec.ts';

/** What the certificate of a connection says about its owner, as far as it is text. */
export interface CertifiedIdentity {
  /** Subject common name: the node id. */
  readonly commonName: string | undefined;
  /** Subject organization: the cluster id. */
  readonly organization: string | undefined;
}

export interface Expectation {
  readonly self: Hello;
  /** Ids of the other members. */
  readonly peerIds: ReadonlySet<string>;
  /** Ids of nodes that have left the cluster. */
  readonly removedIds: ReadonlySet<string>;
  /** Who was dialled; absent on the side that accepts. */
  readonly dialled?: { readonly nodeId: string; readonly worker: number };
  /** The incarnation under which the node that the hello names is connected and has been heard just now. */
  readonly connected?: string | undefined;
}

/** The code of the refusal that tells a node that it has been removed. */
export const NODE_REMOVED = 'node-removed';
/** The same of one that this node has never heard of; it may be newer than what this node has read. */
export const UNKNOWN_NODE = 'unknown-node';

/** Said of a certificate that the cluster's own authority has not signed, or of none. */
export const FOREIGN_CERTIFICATE =
  "no certificate of this cluster's authority was shown: a node of another cluster, or no node at all";

/** Whether the other side of a connection may take part: undefined, or why not. Pure. */
export function refusalOf(
  hello: Hello,
  certified: CertifiedIdentity,
  expected: Expectation,
): Refusal | undefined {
  const { self, peerIds, removedIds, dialled, connected } = expected;
  if (hello.clusterId !== self.clusterId) {
    return {
      code: 'other-cluster',
      message: `node ${hello.nodeId} belongs to cluster ${hello.clusterId}, this one to ${self.clusterId}`,
    };
  }
  if (hello.service !== self.service) {
    return {
      code: 'other-service',
      message: `this port serves "${self.service}", the other side wants "${hello.service}"`,
    };
  }
  if (hello.nodeId === self.nodeId) {
    return {
      code: 'same-node-id',
      message: `another node also calls itself ${self.nodeId}; every node needs an id of its own`,
    };
  }
  if (!peerIds.has(hello.nodeId)) {
    if (removedIds.has(hello.nodeId)) {
      return { code: NODE_REMOVED, message: `node ${hello.nodeId} was removed from the cluster` };
    }
    return { code: UNKNOWN_NODE, message: `the cluster has no node "${hello.nodeId}"` };
  }
  if (dialled !== undefined && hello.nodeId !== dialled.nodeId) {
    return {
      code: 'other-node',
      message: `node ${hello.nodeId} answers at the address of node ${dialled.nodeId}`,
    };
  }
  if (dialled !== undefined && (hello.worker ?? 0) !== dialled.worker) {
    return {
      code: 'other-worker',
      message: `worker ${hello.worker ?? 0} of node ${hello.nodeId} answers at the address of worker ${dialled.worker}`,
    };
  }
  if (certified.commonName !== hello.nodeId || certified.organization !== hello.clusterId) {
    return {
      code: 'certificate-mismatch',
      message:
        `the certificate is of node ${certified.commonName} of cluster ${certified.organization}, ` +
        `its bearer says it is node ${hello.nodeId} of cluster ${hello.clusterId}`,
    };
  }
  if (hello.incarnation === '') {
    return { code: 'no-incarnation', message: `node ${hello.nodeId} gives no incarnation` };
  }
  if (connected !== undefined && connected !== hello.incarnation) {
    // Whoever came first is believed: a copy of a node must not displace it.
    return {
      code: 'same-node-id',
      message: `another process runs as node ${hello.nodeId} and is connected; every node needs an id of its own`,
    };
  }
  return undefined;
}
