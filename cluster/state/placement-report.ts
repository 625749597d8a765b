import { isInSync, racksOf, replicasWanted, sharedFates, staying, takers } from './copies.ts';
import { DEFAULT_REBALANCE_DELAY_MS } from './limits.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { rackOf } from './node-placement.ts';
import { isUnderWay } from './placement.ts';
import { type PlacementStep, planStep, unsettledReason } from './placement-plan.ts';
import { groupsInOrder } from './primaries.ts';

/** How portal groups are placed, in words. */
export interface PlacementReport {
  /** Copies on their way. */
  readonly doing: readonly string[];
  /** What would be done next, and why; undefined: nothing is left to be done. */
  readonly next: string | undefined;
  /** What that waits for, or what has to be seen to before it can be said what is next; undefined: nothing. */
  readonly waitingFor: string | undefined;
  /** What is not as it ought to be and cannot be mended by moving copies, or not yet. */
  readonly warnings: readonly string[];
}

/** @param calmNeededMs as the leader knows it; undefined on other nodes */
export function placementReport(state: ClusterState, calmNeededMs: number | undefined): PlacementReport {
  const step = nextStep(state);
  const next = step === undefined ? undefined : `${describe(state, step.command)}, since ${step.why}`;
  const groups = groupsInOrder(state.portalGroups);
  return {
    doing: groups.flatMap(doing),
    next,
    waitingFor: step === undefined ? unsettledReason(state) : waitOf(step, state, calmNeededMs),
    warnings: groups.flatMap((group) => warnings(state, group)),
  };
}

function nextStep(state: ClusterState): (PlacementStep & { readonly isForBalance: boolean }) | undefined {
  const needed = planStep(state, 0, { mayBalance: false, givenUp: new Set() });
  if (needed !== undefined) return { ...needed, isForBalance: false };
  const forBalance = planStep(state, 0, { mayBalance: true, givenUp: new Set() });
  return forBalance === undefined ? undefined : { ...forBalance, isForBalance: true };
}

function waitOf(
  { isForBalance }: { readonly isForBalance: boolean },
  state: ClusterState,
  calmNeededMs: number | undefined,
): string | undefined {
  if (!isForBalance) return undefined;
  if (state.settings.rebalance === 'off')
    return 'rebalancing to be switched on ("bootfabric cluster set --rebalance on")';
  const { rebalanceDelayMs = DEFAULT_REBALANCE_DELAY_MS } = state.settings;
  if (calmNeededMs === undefined) return `${rebalanceDelayMs / 1000} s of calm`;
  if (calmNeededMs === 0) return undefined;
  return `${Math.ceil(calmNeededMs / 1000)} more of ${rebalanceDelayMs / 1000} s of calm`;
}

function describe(state: ClusterState, command: PlacementStep['command']): string {
  switch (command.type) {
    case 'moveGroup':
      return `portal group ${command.group} moves from ${state.portalGroups[command.group]?.primary ?? 'nobody'} to ${command.to}`;
    case 'addReplica': {
      const { group, add, insteadOf } = command;
      return insteadOf === undefined
        ? `node ${add} is given a copy of portal group ${group}`
        : `the copy of portal group ${group} on ${insteadOf} moves to ${add}`;
    }
    case 'dropReplica':
      return `node ${command.drop} gives up its copy of portal group ${command.group}`;
    case 'removeNode':
      return `node ${command.nodeId} is removed`;
  }
}

function doing(group: PortalGroupRecord): string[] {
  const { id, moving } = group;
  if (moving === undefined || !isUnderWay(group)) return [];
  const how = isInSync(group, moving.to) ? 'which has it in sync' : 'which is catching up';
  return [`the copy of portal group ${id} on ${moving.from} moves to ${moving.to}, ${how}`];
}

function warnings(state: ClusterState, group: PortalGroupRecord): string[] {
  const { id, inSync, minInSync } = group;
  const found: string[] = [];
  const stay = staying(state, group);
  const wanted = replicasWanted(state);
  if (inSync.length < minInSync) {
    found.push(`portal group ${id} writes nothing: ${inSync.length} in sync, and ${minInSync} must be`);
  } else if (inSync.length === 1 && group.replicas.length > 1) {
    found.push(
      `portal group ${id} has one copy in sync, on ${inSync[0]?.nodeId ?? 'nobody'}: without it, it stops`,
    );
  }
  if (stay.length < wanted) {
    found.push(
      `portal group ${id} has ${stay.length} of ${wanted} copies: there are no more nodes to take one`,
    );
  }
  if (sharedFates(state, stay) > 0) {
    const where = crowded(state, stay).map(([rack, ids]) => `rack ${rack} has those of ${ids.join(' and ')}`);
    const racks = racksOf(state, takers(state));
    found.push(
      `portal group ${id} has copies that share a rack: ${where.join(', ')} (racks with nodes that are up: ${racks})`,
    );
  }
  return found;
}

function crowded(state: ClusterState, nodeIds: readonly NodeId[]): [string, NodeId[]][] {
  const byRack = new Map<string, NodeId[]>();
  for (const id of nodeIds) {
    const rack = rackOf(state.nodes[id]);
    if (rack !== undefined) byRack.set(rack, [...(byRack.get(rack) ?? []), id]);
  }
  return [...byRack].filter(([, ids]) => ids.length > 1);
}
