import { workersOfNode } from './data-plane-workers.ts';
import type { ClusterState, NodeEndpoints, NodeRecord, RemovedNodeRecord } from './model.ts';
import { compareText } from './names.ts';
import { ADDRESSES_VERSION, REMOVED_ENDPOINTS_VERSION, versionOf } from './versions.ts';

/** Addresses of nodes, which stay where they are, beside those of portal groups, which move. */

type Addressed = Pick<NodeRecord, 'endpoints' | 'workers'>;

/** Wherever a node listens, each "HOST:PORT". */
export function endpointsOfNode(node: Addressed): readonly string[] {
  const ofWorkers = workersOfNode(node).flatMap(({ replication, iscsi }) => [replication, iscsi]);
  return [...new Set([...(Object.values(node.endpoints) as string[]), ...ofWorkers])];
}

export function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(':'));
}

/** There nobody owns an address, and none moves. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.');
}

/** What is remembered of a node that leaves: its host may be up for long, and answer for the addresses that it had. */
export function removedNode(state: ClusterState, node: NodeRecord, atMs: number): RemovedNodeRecord {
  const { nodeId, raftId } = node;
  const removed = { nodeId, raftId, removedAtMs: atMs };
  if (versionOf(state) < ADDRESSES_VERSION) return removed;
  const hosts = new Set(endpointsOfNode(node).map(hostOf));
  const addresses = [...hosts].filter((host) => !isLoopback(host)).sort(compareText);
  if (versionOf(state) < REMOVED_ENDPOINTS_VERSION) return { ...removed, addresses };
  return { ...removed, addresses, endpoints: node.endpoints };
}

type Reachable = RemovedNodeRecord & { readonly endpoints: NodeEndpoints };

/** Others were removed before it was noted where they are. */
export function isReachable(node: RemovedNodeRecord): node is Reachable {
  return node.endpoints !== undefined;
}

/** The node that had that address and was removed; undefined: none that is known of. */
export function formerNodeAt({ removedNodes }: ClusterState, address: string): RemovedNodeRecord | undefined {
  return Object.values(removedNodes).find(({ addresses = [] }) => addresses.includes(address));
}
