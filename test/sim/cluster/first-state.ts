import { apply } from '../../../cluster/state/apply.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { IMAGE } from './clients.ts';
import { endpointsOf } from './endpoints.ts';

/** The state a cluster begins with: some nodes, two portal groups and an image that all nodes hold. */
export function makeFirstState(nodes: number): ClusterState {
  const ids = Array.from({ length: nodes }, (_, i) => i + 1);
  let state = makeGenesis({
    clusterId: 'c0ffee00c0ffee00c0ffee00c0ffee00',
    clusterName: 'simulated',
    settings: {
      dhcp: { mode: 'off', leaseSeconds: 3600 },
      iqnPrefix: 'iqn.2026-11.net.example:sim',
      fenceAfterMs: 900,
      leaseMs: 600,
      rebalanceDelayMs: 300,
      replaceAfterMs: 4_000,
    },
    nodes: ids.map((n) => ({
      nodeId: `n${n}`,
      raftId: n,
      endpoints: endpointsOf(`n${n}`),
    })),
    portalGroups: ['pg1', 'pg2'].map((id, i) => ({ id, address: `192.0.2.${10 + i}`, port: 3260 })),
    tokens: [],
  });
  const commands: Command[] = [
    {
      type: 'addImageVersion',
      image: IMAGE,
      sizeBytes: 1 << 20,
      chunkSizeBytes: 1 << 20,
      manifestSha256: 'a'.repeat(64),
      holder: 'n1',
      atMs: 0,
    },
    ...ids.slice(1).map((n): Command => ({ type: 'imageHeld', image: IMAGE, version: 1, holder: `n${n}` })),
  ];
  for (const command of commands) ({ state } = apply(state, command));
  return state;
}
