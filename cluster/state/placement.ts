import { withAudit } from './audit.ts';
import type { Command, CommandRefusal } from './commands.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { lookup } from './names.ts';
import { unknownNode } from './nodes.ts';
import { accepted, type Outcome, refused, unknownGroup } from './outcome.ts';
import { isThere, isUp, withMembership } from './primaries.ts';

/** Commands that say where portal groups are. Which of them are wanted is decided in placement-plan.ts. */

type OfType<T extends Command['type']> = Extract<Command, { type: T }>;

/** Another in-sync member leads from now on; the one that did stays in sync. */
export function moveGroup(state: ClusterState, command: OfType<'moveGroup'>): Outcome {
  const group = comparedGroup(state, command);
  if ('result' in group) return group;
  const { to } = command;
  if (group.primary === to) {
    return refused(
      state,
      conflict('already-primary', `node ${to} leads portal group ${group.id} already`, to, 'another node'),
    );
  }
  if (lookup(state.nodes, to) === undefined) return unknownNode(state, to);
  const member = group.inSync.find((m) => m.nodeId === to);
  if (member === undefined) {
    const others = group.inSync.map((m) => m.nodeId).filter((id) => id !== group.primary);
    const names = others.length > 0 ? others.join(', ') : `${to}, once it is in sync: no other node is`;
    return refused(
      state,
      conflict('not-in-sync', `node ${to} is not in sync in portal group ${group.id}`, to, names),
    );
  }
  if (!isThere(state.nodes, member)) return refused(state, notUp(state, to));
  const by = `${group.id} to ${to}`;
  return withGroup(remembered(state, 'group-moved', by, command), withMembership(group, group.inSync, to));
}

/** A node begins to keep a copy. It counts once the primary finds it caught up. */
export function addReplica(state: ClusterState, command: OfType<'addReplica'>): Outcome {
  const group = comparedGroup(state, command);
  if ('result' in group) return group;
  const { add } = command;
  if (lookup(state.nodes, add) === undefined) return unknownNode(state, add);
  if (group.replicas.includes(add)) {
    const message = `node ${add} is a replica of portal group ${group.id} already`;
    return refused(state, conflict('already-a-replica', message, add, 'a node that is none yet'));
  }
  if (!isUp(state.nodes, add)) return refused(state, notUp(state, add));
  const { insteadOf } = command;
  if (insteadOf !== undefined && !group.replicas.includes(insteadOf)) {
    const message = `node ${insteadOf} is no replica of portal group ${group.id}`;
    return refused(state, conflict('not-a-replica', message, insteadOf, group.replicas.join(', ')));
  }
  const other = Object.values(state.portalGroups).find((g) => g.id !== group.id && isUnderWay(g));
  if (insteadOf !== undefined && other !== undefined) {
    const message = `a copy of portal group ${other.id} is being moved`;
    return refused(state, conflict('move-under-way', message, group.id, 'one move at a time'));
  }
  const instead = insteadOf === undefined ? '' : ` instead of ${insteadOf}`;
  const after = remembered(state, 'copy-added', `${group.id} on ${add}${instead}`, command);
  return withGroup(after, {
    ...withMembership(withoutMoving(group), group.inSync, group.primary),
    replicas: [...group.replicas, add],
    ...(insteadOf === undefined ? {} : { moving: { from: insteadOf, to: add } }),
  });
}

/** Whether a copy of it is being moved, and has not arrived and let the old one go. */
export function isUnderWay({ moving, replicas }: PortalGroupRecord): boolean {
  return moving !== undefined && replicas.includes(moving.from) && replicas.includes(moving.to);
}

function withoutMoving(group: PortalGroupRecord): PortalGroupRecord {
  const { moving: _, ...rest } = group;
  return rest;
}

function remembered(
  state: ClusterState,
  event: string,
  what: string,
  { atMs, why }: { readonly atMs?: number; readonly why?: string },
): ClusterState {
  return atMs === undefined || why === undefined ? state : withAudit(state, atMs, event, `${what}: ${why}`);
}

/** A node keeps no copy any more. */
export function dropReplica(state: ClusterState, command: OfType<'dropReplica'>): Outcome {
  const group = comparedGroup(state, command);
  if ('result' in group) return group;
  const { drop } = command;
  if (!group.replicas.includes(drop)) {
    const message = `node ${drop} is no replica of portal group ${group.id}`;
    return refused(state, conflict('not-a-replica', message, drop, group.replicas.join(', ')));
  }
  const inSync = group.inSync.filter((m) => m.nodeId !== drop);
  if (group.primary === drop || inSync.length === 0) {
    const message = `portal group ${group.id} cannot do without node ${drop}: it is its primary or its last in-sync member`;
    return refused(state, conflict('last-or-primary', message, drop, 'a backup'));
  }
  if (inSync.length < group.inSync.length && inSync.length < group.minInSync) {
    const message = `portal group ${group.id} would have ${inSync.length} in sync, and needs ${group.minInSync}`;
    return refused(
      state,
      conflict('too-few-in-sync', message, drop, 'a replica that is not in sync, or one more first'),
    );
  }
  return withGroup(remembered(state, 'copy-dropped', `${group.id} on ${drop}`, command), {
    ...withMembership(withoutMoving(group), inSync, group.primary),
    replicas: group.replicas.filter((id) => id !== drop),
  });
}

function comparedGroup(
  state: ClusterState,
  command: { readonly group: string; readonly epoch: number },
): PortalGroupRecord | Outcome {
  const group = lookup(state.portalGroups, command.group);
  if (group === undefined) return unknownGroup(state, command.group);
  if (group.founding === true) {
    const message = `portal group ${group.id} has only been added, and its copies are being made`;
    return refused(state, conflict('being-made', message, group.id, 'the same, in a moment'));
  }
  if (group.epoch === command.epoch) return group;
  return refused(
    state,
    conflict(
      'stale-epoch',
      `portal group ${group.id} is at epoch ${group.epoch}`,
      command.epoch,
      `epoch ${group.epoch}`,
    ),
  );
}

function withGroup(state: ClusterState, group: PortalGroupRecord): Outcome {
  const portalGroups = { ...state.portalGroups, [group.id]: group };
  return accepted({ ...state, portalGroups }, { group: group.id, epoch: group.epoch });
}

function notUp(state: ClusterState, nodeId: NodeId): CommandRefusal {
  const status = lookup(state.nodes, nodeId)?.status ?? 'unknown';
  return conflict('not-up', `node ${nodeId} is not up`, status, 'a node that is up');
}

function conflict(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'conflict', code, message, got, accepted };
}
