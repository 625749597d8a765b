import { invariant } from '../../base/errors.ts';
import { canShareGroups, workerOfGroup, workersOfNode } from '../../cluster/state/data-plane-workers.ts';
import type { ClusterState, WorkerEndpoints } from '../../cluster/state/model.ts';
import { linkName, type PeerAddress } from '../peer/outbound-link.ts';
import type { WorkerPortal } from './group-directory.ts';

/** One worker of a node among the workers of all nodes: which groups are its own, and where others are. */
export class WorkerPlace {
  readonly #worker: number;
  readonly #workers: readonly WorkerEndpoints[];
  readonly own: WorkerEndpoints;

  /** @param workers of this node, for as long as its process lives */
  constructor({ worker, workers }: { worker: number; workers: readonly WorkerEndpoints[] }) {
    const own = workers[worker];
    invariant(own !== undefined, 'a worker is one of those of its node');
    this.#worker = worker;
    this.#workers = workers;
    this.own = own;
  }

  /** Of this node. */
  get count(): number {
    return this.#workers.length;
  }

  hasGroup(groupId: string): boolean {
    return workerOfGroup(groupId, this.count) === this.#worker;
  }

  /** The node's fixed portal for a group of another worker's. */
  elsewhere(groupId: string): WorkerPortal | undefined {
    const worker = workerOfGroup(groupId, this.count);
    if (worker === this.#worker) return undefined;
    const { host: address, port } = hostAndPort(this.#workers[worker]?.iscsi ?? '');
    return { address, port };
  }

  /** Whether this worker has a copy of a group that other nodes have copies of as well. */
  sharesCopies({ portalGroups }: Pick<ClusterState, 'portalGroups'>, nodeId: string): boolean {
    return Object.values(portalGroups).some(
      ({ id, replicas }) => this.hasGroup(id) && replicas.includes(nodeId) && replicas.length > 1,
    );
  }

  /** The workers of the configuration's nodes that may have a group of this one's; nothing is replicated to others. */
  peers({ nodes }: Pick<ClusterState, 'nodes'>): PeerAddress[] {
    const self = { worker: this.#worker, workers: this.count };
    return Object.values(nodes).flatMap((node) => {
      const all = workersOfNode(node).map(({ replication }, worker) => ({
        nodeId: node.nodeId,
        worker,
        ...hostAndPort(replication),
      }));
      return all.filter(({ worker }) => canShareGroups(self, { worker, workers: all.length }));
    });
  }
}

/** The link to whichever worker of that node has the group, as far as the configuration is known. */
export function linkTo(state: ClusterState | undefined, groupId: string, nodeId: string): string {
  const node = state?.nodes[nodeId];
  if (node === undefined) return nodeId;
  return linkName({ nodeId, worker: workerOfGroup(groupId, workersOfNode(node).length) });
}

export function hostAndPort(endpoint: string): { readonly host: string; readonly port: number } {
  const [host = '', port = ''] = endpoint.split(':');
  return { host, port: Number(port) };
}
