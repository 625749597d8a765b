import { createHash } from 'node:crypto';
import { OperationError } from '../../base/errors.ts';
import type { ClusterStatus, ClusterView } from '../../cluster/ports.ts';
import { apply } from '../../cluster/state/apply.ts';
import type { Command, CommandResult } from '../../cluster/state/commands.ts';
import { makeGenesis } from '../../cluster/state/genesis.ts';
import type { ClusterState, NodeEndpoints } from '../../cluster/state/model.ts';

export const TOKEN = 'bf_a-token-for-tests';
export const CLUSTER_ID = 'c0ffee00c0ffee00c0ffee00c0ffee00';

const endpointsAt = (host: string): NodeEndpoints => ({
  peer: `${host}:7400`,
  replication: `${host}:7401`,
  api: `${host}:7443`,
  http: `${host}:7480`,
  tftp: `${host}:69`,
  iscsi: `${host}:3260`,
});

export const NODE_IDS = ['n1', 'n2', 'n3'] as const;

/** A cluster of three nodes that are up, with one portal group, in memory; commands really apply. */
export class FakeCluster implements ClusterView {
  readonly nodeId = 'n1';
  /** What the next propose or linearizable read meets instead of a majority. */
  failure: OperationError | undefined;
  #state: ClusterState;
  readonly #listeners = new Set<(state: ClusterState) => void>();

  constructor() {
    this.#state = makeGenesis({
      clusterId: CLUSTER_ID,
      clusterName: 'lab',
      settings: {
        dhcp: { mode: 'off', leaseSeconds: 3600 },
        iqnPrefix: 'iqn.2026-11.net.bootfabric:lab',
        fenceAfterMs: 3000,
        leaseMs: 2000,
      },
      nodes: NODE_IDS.map((nodeId, i) => ({
        nodeId,
        raftId: i + 1,
        endpoints: endpointsAt(`127.0.0.1${i + 1}`),
      })),
      portalGroups: [{ id: 'pg1', address: '127.0.0.21', port: 3260 }],
      tokens: [
        { id: 'other', role: 'administrator', sha256: 'ab'.repeat(32) },
        { id: 'admin', role: 'administrator', sha256: createHash('sha256').update(TOKEN).digest('hex') },
      ],
    });
    for (const [i, nodeId] of NODE_IDS.entries()) {
      const endpoints = endpointsAt(`127.0.0.1${i + 1}`);
      this.apply({ type: 'registerNode', nodeId, incarnation: `${nodeId}-first`, endpoints });
    }
  }

  state(): ClusterState {
    return this.#state;
  }

  /** As once every node has been started with a program that knows this version of the configuration. */
  reachVersion(stateVersion: number): void {
    this.#state = { ...this.#state, stateVersion };
  }

  linearizableState(): Promise<ClusterState> {
    return this.failure === undefined ? Promise.resolve(this.#state) : Promise.reject(this.failure);
  }

  subscribe(listener: (state: ClusterState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Nodes that keep their votes when they are removed. */
  readonly voteStill = new Set<string>();

  hasLeft(nodeId: string): boolean {
    return Object.hasOwn(this.#state.removedNodes, nodeId) && !this.voteStill.has(nodeId);
  }

  propose(command: Command): Promise<CommandResult> {
    return this.failure === undefined ? Promise.resolve(this.apply(command)) : Promise.reject(this.failure);
  }

  apply(command: Command): CommandResult {
    const outcome = apply(this.#state, command);
    this.#state = outcome.state;
    for (const listener of this.#listeners) listener(outcome.state);
    return outcome.result;
  }

  /** Image `name` version 1 on all nodes, or on those given. */
  addImage(name: string, holders: readonly string[] = NODE_IDS): void {
    const [first = 'n1', ...others] = holders;
    this.apply({
      type: 'addImageVersion',
      image: name,
      sizeBytes: 1 << 20,
      chunkSizeBytes: 1 << 20,
      manifestSha256: createHash('sha256').update(name).digest('hex'),
      holder: first,
      atMs: Date.UTC(2026, 10, 20),
    });
    for (const holder of others) this.apply({ type: 'imageHeld', image: name, version: 1, holder });
  }

  status(): ClusterStatus {
    return {
      nodeId: 'n1',
      role: 'leader',
      leader: 'n1',
      term: 2,
      commitIndex: 7,
      appliedIndex: 7,
      lastIndex: 7,
      disk: { samples: 3, p50Ms: 0.4, p99Ms: 2.5, underWayMs: 0 },
      refetch: undefined,
      calmNeededMs: undefined,
      members: NODE_IDS.map((nodeId) => ({ nodeId, role: 'voter' as const })),
      peers: [
        { nodeId: 'n2', linkUp: true, matchIndex: 7, lagEntries: 0, lastContactMs: 12 },
        {
          nodeId: 'n3',
          linkUp: false,
          matchIndex: undefined,
          lagEntries: undefined,
          lastContactMs: undefined,
        },
      ],
    };
  }
}

export const unavailable = (): OperationError =>
  new OperationError('there is no leader', {
    kind: 'unavailable',
    code: 'no-leader',
    accepted: 'a majority',
  });
