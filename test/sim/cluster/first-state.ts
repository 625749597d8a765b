import { apply } from '../../../cluster/state/apply.ts';
import type { Command } from '../../../cluster/state/commands.ts';
import { makeGenesis } from '../../../cluster/state/genesis.ts';
import type { ClusterSettings, ClusterState } from '../../../cluster/state/model.ts';
import { IMAGE } from './clients.ts';
import { endpointsOf } from './endpoints.ts';

/** A cluster of some nodes and these portal groups, before its first command. */
export function simulatedGenesis(
  nodes: number,
  groups: readonly string[],
  settings: Partial<ClusterSettings>,
): ClusterState {
  const ids = Array.from({ length: nodes }, (_, i) => i + 1);
  return makeGenesis({
    clusterId: 'c0ffee00c0ffee00c0ffee00c0ffee00',
    clusterName: 'simulated',
    settings: {
      dhcp: { mode: 'off', leaseSeconds: 3600 },
      iqnPrefix: 'iqn.2026-11.net.example:sim',
      fenceAfterMs: 900,
      leaseMs: 600,
      ...settings,
    },
    nodes: ids.map((n) => ({
      nodeId: `n${n}`,
      raftId: n,
      endpoints: endpointsOf(`n${n}`),
    })),
    portalGroups: groups.map((id, i) => ({ id, address: `192.0.2.${10 + i}`, port: 3260 })),
    tokens: [],
  });
}

/** The state a cluster begins with: some nodes, two portal groups and an image that all nodes hold. */
export function makeFirstState(nodes: number): ClusterState {
  let state = simulatedGenesis(nodes, ['pg1', 'pg2'], { rebalanceDelayMs: 300, replaceAfterMs: 4_000 });
  const others = Array.from({ length: nodes - 1 }, (_, i) => `n${i + 2}`);
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
    ...others.map((holder): Command => ({ type: 'imageHeld', image: IMAGE, version: 1, holder })),
  ];
  for (const command of commands) ({ state } = apply(state, command));
  return state;
}
