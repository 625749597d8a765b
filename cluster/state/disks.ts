import { CLUSTER_RECOVERED, STARTED_FROM, withAudit } from './audit.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { isKnownBy, withLifeOf, withMemberLife } from './lives.ts';
import type { ClusterState, NodeRecord, PortalGroupRecord } from './model.ts';
import { lookup } from './names.ts';
import { unknownNode } from './nodes.ts';
import { accepted, type Outcome, refused, unknownGroup } from './outcome.ts';
import { isUp, memberOf, withFounder, withMembership } from './primaries.ts';

/** Which directories hold the copies of portal groups, and what is done when the one that counts is gone. */

type OfType<T extends Command['type']> = Extract<Command, { type: T }>;

export function identifyDisk(state: ClusterState, command: OfType<'identifyDisk'>): Outcome {
  const { nodeId, incarnation, group: groupId, disk, life } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  if (lookup(state.portalGroups, groupId) === undefined) return unknownGroup(state, groupId);
  if (node.incarnation !== incarnation || node.status !== 'up') {
    const message = `incarnation ${incarnation} of node ${nodeId} is not up`;
    return refused(state, conflict('other-incarnation', message, incarnation, node.incarnation));
  }
  const known = lookup(node.disks ?? {}, groupId);
  if (known !== undefined && known !== disk) {
    // A process keeps its directories open: it cannot have got another one.
    const message = `node ${nodeId} has another directory for portal group ${groupId}`;
    return refused(state, conflict('other-disk', message, disk, known));
  }
  const knownLife = lookup(node.lives ?? {}, groupId);
  if (life !== undefined && !isKnownBy(knownLife, [...life.former, life.life])) {
    // Somebody has exchanged the directory under the process.
    const message = `what is in the place of the directory of portal group ${groupId} on node ${nodeId} is not what was there`;
    return refused(state, conflict('other-life', message, life.life, knownLife ?? 'a life told before'));
  }
  const identified: NodeRecord = {
    ...node,
    disks: { ...node.disks, [groupId]: disk },
    ...(life === undefined ? {} : { lives: { ...node.lives, [groupId]: life.life } }),
  };
  const nodes = { ...state.nodes, [nodeId]: identified };
  const founded = withFounder(
    state.portalGroups[groupId] as PortalGroupRecord,
    state.portalGroups,
    nodes,
    identified,
  );
  const member = memberOf(identified, founded);
  const next = life === undefined ? founded : withLifeOf(withMemberLife(founded, member, life), nodeId, life);
  const isSame = next === state.portalGroups[groupId];
  const portalGroups = isSame ? state.portalGroups : { ...state.portalGroups, [groupId]: next };
  return accepted({ ...state, nodes, portalGroups }, { group: groupId, disk });
}

/**
 * The group goes on from the copy of a node that is not known to have everything. Only while nobody serves it,
 * and remembered in the audit trail.
 */
export function startGroupFrom(state: ClusterState, command: OfType<'startGroupFrom'>): Outcome {
  const { group: groupId, epoch, nodeId, atMs, by } = command;
  const group = lookup(state.portalGroups, groupId);
  if (group === undefined) return unknownGroup(state, groupId);
  const refusal = refusalToStart(state, group, command);
  if (refusal !== undefined) return refused(state, refusal);
  const node = state.nodes[nodeId] as NodeRecord;
  // What others had more is given up: none of them has everything from now on.
  const { departed: _, retired: __, ...rest } = withMembership(group, [memberOf(node, group)], nodeId);
  const started = {
    ...rest,
    // Members that know of more are to give it up, from this epoch on.
    lossAcceptedEpoch: epoch + 1,
  };
  const lost = group.inSync.map((m) => m.nodeId).join(', ');
  const detail = `portal group ${groupId} from ${nodeId}, giving up what only ${lost} had, by ${by}`;
  const next = { ...state, portalGroups: { ...state.portalGroups, [groupId]: started } };
  return accepted(withAudit(next, atMs, STARTED_FROM, detail), {
    group: groupId,
    epoch: started.epoch,
  });
}

function refusalToStart(
  state: ClusterState,
  group: PortalGroupRecord,
  { epoch, nodeId }: OfType<'startGroupFrom'>,
): CommandRefusal | undefined {
  if (group.epoch !== epoch) {
    const message = `portal group ${group.id} is at epoch ${group.epoch}`;
    return conflict('stale-epoch', message, epoch, `epoch ${group.epoch}`);
  }
  if (group.founding === true) {
    const message = `portal group ${group.id} has only been added, and nothing is in it`;
    return conflict('being-made', message, nodeId, 'its nodes up, or the portal group removed');
  }
  if (group.primary !== undefined) {
    const message = `portal group ${group.id} has a primary, ${group.primary}: nothing needs to be given up`;
    return conflict('has-primary', message, nodeId, 'a portal group that nobody can serve');
  }
  if (!group.replicas.includes(nodeId)) {
    const message = `node ${nodeId} is no replica of portal group ${group.id}`;
    return conflict('not-a-replica', message, nodeId, group.replicas.join(', '));
  }
  if (isUp(state.nodes, nodeId)) return undefined;
  return conflict('not-up', `node ${nodeId} is not up`, nodeId, 'a node that is up');
}

/** What an administrator last had a group give up, and since when; undefined: nothing. */
export function acceptedLoss(state: ClusterState, group: PortalGroupRecord): string | undefined {
  const { lossAcceptedEpoch, id } = group;
  if (lossAcceptedEpoch === undefined) return undefined;
  const told = state.audit.findLast(
    ({ event, detail }) =>
      (event === STARTED_FROM && detail.startsWith(`portal group ${id} from `)) ||
      event === CLUSTER_RECOVERED,
  );
  // The trail forgets in time; the epoch is known for ever.
  const since = `since epoch ${lossAcceptedEpoch}`;
  return told === undefined ? since : `${since}, ${new Date(told.atMs).toISOString()}: ${told.detail}`;
}

function conflict(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'conflict', code, message, got, accepted };
}
