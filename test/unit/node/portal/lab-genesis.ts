import { makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, ImageVersionRecord } from '../../../../cluster/state/model.ts';

const endpoints = { peer: 'h:1', replication: 'h:2', api: 'h:3', http: 'h:4', tftp: 'h:5', iscsi: 'h:6' };

/** A cluster of these nodes with one portal group, "g1", and nothing in it yet. */
export function labGenesis(nodeIds: readonly string[]): ClusterState {
  return makeGenesis({
    clusterId: 'c1',
    clusterName: 'lab',
    settings: {
      dhcp: { mode: 'off', leaseSeconds: 600 },
      iqnPrefix: 'iqn.2026-11.net.bootfabric:lab',
      fenceAfterMs: 700,
      leaseMs: 800,
    },
    nodes: nodeIds.map((nodeId, i) => ({
      nodeId,
      raftId: i + 1,
      endpoints: { ...endpoints, peer: `${nodeId}:1` },
    })),
    portalGroups: [{ id: 'g1', address: '192.0.2.101', port: 3260 }],
    tokens: [],
  });
}

/** One of eight blocks, which these nodes have. */
export function imageVersion(version: number, holders: string[]): ImageVersionRecord {
  return {
    version,
    sizeBytes: 4096,
    chunkSizeBytes: 1 << 20,
    manifestSha256: '0'.repeat(64),
    holders,
    createdAtMs: 0,
  };
}
