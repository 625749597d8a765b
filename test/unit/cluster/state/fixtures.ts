import { apply } from '../../../../cluster/state/apply.ts';
import type { Command } from '../../../../cluster/state/commands.ts';
import { type GenesisInput, makeGenesis } from '../../../../cluster/state/genesis.ts';
import type { ClusterState, NodeEndpoints } from '../../../../cluster/state/model.ts';

export function endpointsOf(n: number): NodeEndpoints {
  const host = `198.51.100.${n}`;
  return {
    peer: `${host}:1`,
    replication: `${host}:2`,
    api: `${host}:3`,
    http: `${host}:4`,
    tftp: `${host}:69`,
    iscsi: `${host}:3260`,
  };
}

export function genesisInput(nodeCount = 3, groupCount = 4): GenesisInput {
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
  return {
    clusterId: 'c-1',
    clusterName: 'lab',
    settings: {
      dhcp: {
        mode: 'full',
        subnet: '192.0.2.0/24',
        rangeStart: '192.0.2.10',
        rangeEnd: '192.0.2.15',
        leaseSeconds: 3600,
      },
      iqnPrefix: 'iqn.2026-11.net.example:lab',
      fenceAfterMs: 1000,
      leaseMs: 800,
    },
    nodes: upTo(nodeCount).map((n) => ({ nodeId: `n${n}`, raftId: n, endpoints: endpointsOf(n) })),
    portalGroups: upTo(groupCount).map((n) => ({ id: `pg${n}`, address: `192.0.2.${10 + n}`, port: 3260 })),
    tokens: [],
  };
}

/** Applies commands that must all be accepted. */
export function applyAll(state: ClusterState, ...commands: readonly Command[]): ClusterState {
  let next = state;
  for (const command of commands) {
    const outcome = apply(next, command);
    if (!outcome.result.ok) throw new Error(`${command.type}: ${outcome.result.error.message}`);
    next = outcome.state;
  }
  return next;
}

export const register = (n: number, incarnation: string): Command => ({
  type: 'registerNode',
  nodeId: `n${n}`,
  incarnation,
  endpoints: endpointsOf(n),
});

export const fence = (n: number, incarnation: string): Command => ({
  type: 'fenceNode',
  nodeId: `n${n}`,
  incarnation,
  reason: 'silent',
});

export const sha = (c: string): string => c.repeat(64);

export const addVersion = (image: string, holder: string, manifest = sha('a')): Command => ({
  type: 'addImageVersion',
  image,
  sizeBytes: 1 << 20,
  chunkSizeBytes: 1 << 16,
  manifestSha256: manifest,
  holder,
  atMs: 5,
});

export const addClient = (name: string, mac: string, image = 'win'): Command => ({
  type: 'addClient',
  name,
  macs: [mac],
  image,
  writeCache: 'keep',
});

/** All nodes up as incarnation "a", image "win" version 1 held by all. */
export function runningCluster(nodeCount = 3, groupCount = 4): ClusterState {
  let state = makeGenesis(genesisInput(nodeCount, groupCount));
  for (let n = 1; n <= nodeCount; n++) state = applyAll(state, register(n, 'a'));
  state = applyAll(state, addVersion('win', 'n1'));
  for (let n = 2; n <= nodeCount; n++) {
    state = applyAll(state, { type: 'imageHeld', image: 'win', version: 1, holder: `n${n}` });
  }
  return state;
}
