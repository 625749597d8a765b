import { withAudit } from './audit.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { replicasWanted } from './copies.ts';
import {
  MAX_CATCH_UP_BYTES_PER_SECOND,
  MAX_NODE_WEIGHT,
  MAX_NODES,
  MAX_PLACEMENT_DELAY_MS,
  MIN_CATCH_UP_BYTES_PER_SECOND,
} from './limits.ts';
import type { ClusterState, NodePlacement } from './model.ts';
import { checkName, lookup } from './names.ts';
import { unknownNode } from './nodes.ts';
import { accepted, type Outcome, refused, unknownGroup } from './outcome.ts';

/** What is said of how things are to be: of nodes, of the cluster as a whole, of single portal groups. */

type OfType<T extends Command['type']> = Extract<Command, { type: T }>;

export function describeNode(state: ClusterState, command: OfType<'describeNode'>): Outcome {
  const { nodeId, incarnation } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  if (node.incarnation !== incarnation) {
    const message = `node ${nodeId} has started again since`;
    return refused(state, conflict('other-incarnation', message, incarnation, node.incarnation));
  }
  const refusal = checkPlacement(command);
  if (refusal !== undefined) return refused(state, refusal);
  const { described: _, ...rest } = node;
  const described = withoutNothing(placementIn(command));
  const nodes = { ...state.nodes, [nodeId]: described === undefined ? rest : { ...rest, described } };
  return accepted({ ...state, nodes }, { nodeId });
}

const CLEARABLE = ['weight', 'rack'] as const;

export function setNode(state: ClusterState, command: OfType<'setNode'>): Outcome {
  const { nodeId, clear, atMs, by } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  const strange = clear.find((name) => !(CLEARABLE as readonly string[]).includes(name));
  if (strange !== undefined) {
    const message = `"${strange}" is nothing that could be left to the node's own settings`;
    return refused(state, invalid('bad-setting', message, strange, CLEARABLE.join(', ')));
  }
  const refusal = checkPlacement(command);
  if (refusal !== undefined) return refused(state, refusal);
  const kept = Object.entries(node.assigned ?? {}).filter(([name]) => !clear.includes(name));
  const assigned = withoutNothing({ ...Object.fromEntries(kept), ...placementIn(command) });
  const { assigned: _, ...rest } = node;
  const nodes = { ...state.nodes, [nodeId]: assigned === undefined ? rest : { ...rest, assigned } };
  const said = [
    ...(command.weight === undefined ? [] : [`weight ${command.weight}`]),
    ...(command.rack === undefined ? [] : [`rack ${command.rack}`]),
    ...clear.map((name) => `${name} by its own settings`),
  ];
  const detail = `${nodeId}: ${said.join(', ') || 'nothing'}, by ${by}`;
  return accepted(withAudit({ ...state, nodes }, atMs, 'node-set', detail), { nodeId });
}

function placementIn({ weight, rack }: NodePlacement): NodePlacement {
  return { ...(weight === undefined ? {} : { weight }), ...(rack === undefined ? {} : { rack }) };
}

function withoutNothing(placement: NodePlacement): NodePlacement | undefined {
  return Object.keys(placement).length === 0 ? undefined : placement;
}

function checkPlacement({ weight, rack }: NodePlacement): CommandRefusal | undefined {
  if (weight !== undefined && (weight < 1 || weight > MAX_NODE_WEIGHT)) {
    const accepted = `a whole number from 1 to ${MAX_NODE_WEIGHT}; to empty a node, drain it`;
    return invalid('bad-weight', `a node cannot have the weight ${weight}`, weight, accepted);
  }
  return rack === undefined ? undefined : checkName('a rack', rack);
}

export function setCluster(state: ClusterState, command: OfType<'setCluster'>): Outcome {
  const { type: _, atMs, by, ...given } = command;
  const refusal =
    checkCopies(state, given.replicasPerGroup) ??
    checkDelays(given) ??
    checkPace(given.catchUpBytesPerSecond);
  if (refusal !== undefined) return refused(state, refusal);
  const changed = Object.entries(given).filter(([, value]) => value !== undefined);
  const settings = { ...state.settings, ...Object.fromEntries(changed) };
  const said = changed.map(([name, value]) => `${name} ${String(value)}`).join(', ') || 'nothing';
  return accepted(withAudit({ ...state, settings }, atMs, 'cluster-set', `${said}, by ${by}`), {});
}

function checkCopies(state: ClusterState, copies: number | undefined): CommandRefusal | undefined {
  if (copies === undefined) return undefined;
  const accepted = `1 to ${MAX_NODES}`;
  if (copies < 1 || copies > MAX_NODES) {
    return invalid('bad-replica-count', `${copies} copies of a group`, copies, accepted);
  }
  const stricter = Object.values(state.portalGroups).find((group) => group.minInSync > copies);
  if (stricter === undefined) return undefined;
  const message = `portal group ${stricter.id} writes only while ${stricter.minInSync} copies are in sync`;
  return conflict('below-min-in-sync', message, copies, `${stricter.minInSync} or more`);
}

function checkDelays(given: {
  readonly rebalanceDelayMs?: number;
  readonly replaceAfterMs?: number;
}): CommandRefusal | undefined {
  const { rebalanceDelayMs, replaceAfterMs } = given;
  for (const [name, value] of Object.entries({ rebalanceDelayMs, replaceAfterMs })) {
    if (value === undefined || value <= MAX_PLACEMENT_DELAY_MS) continue;
    return invalid('bad-duration', `${name} is ${value}`, value, `0 to ${MAX_PLACEMENT_DELAY_MS} ms`);
  }
  return undefined;
}

function checkPace(bytesPerSecond: number | undefined): CommandRefusal | undefined {
  if (bytesPerSecond === undefined) return undefined;
  const [least, most] = [MIN_CATCH_UP_BYTES_PER_SECOND, MAX_CATCH_UP_BYTES_PER_SECOND];
  if (bytesPerSecond >= least && bytesPerSecond <= most) return undefined;
  const message = `members cannot catch up at ${bytesPerSecond} bytes a second at most`;
  return invalid('bad-catch-up-pace', message, bytesPerSecond, `${least} to ${most} bytes a second`);
}

/** Its primary follows with the state, so no epoch rises: nobody leaves or joins by it. */
export function setPortalGroup(state: ClusterState, command: OfType<'setPortalGroup'>): Outcome {
  const { group: groupId, minInSync, durability, atMs, by } = command;
  const group = lookup(state.portalGroups, groupId);
  if (group === undefined) return unknownGroup(state, groupId);
  const copies = replicasWanted(state);
  if (minInSync !== undefined && (minInSync < 1 || minInSync > copies)) {
    const message = `portal group ${groupId} cannot have ${minInSync} copies in sync, since it has ${copies} at most`;
    return refused(state, invalid('bad-min-in-sync', message, minInSync, `1 to ${copies}`));
  }
  const changed = {
    ...group,
    ...(minInSync === undefined ? {} : { minInSync }),
    ...(durability === undefined ? {} : { durability }),
  };
  const portalGroups = { ...state.portalGroups, [groupId]: changed };
  const said = [
    ...(minInSync === undefined ? [] : [`minInSync ${minInSync}`]),
    ...(durability === undefined ? [] : [durability]),
  ];
  const detail = `${groupId}: ${said.join(', ') || 'nothing'}, by ${by}`;
  return accepted(withAudit({ ...state, portalGroups }, atMs, 'portal-group-set', detail), {
    group: groupId,
  });
}

function invalid(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'invalid', code, message, got, accepted };
}

function conflict(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'conflict', code, message, got, accepted };
}
