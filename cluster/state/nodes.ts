import type { Command, CommandRefusal } from './commands.ts';
import { withBootOf } from './departed.ts';
import { currentLives, isOldCopy, withLifeOf } from './lives.ts';
import type {
  ClusterState,
  DirectoryLife,
  InSyncMember,
  NodeId,
  NodeRecord,
  PortalGroupRecord,
  RetiredCopy,
} from './model.ts';
import { lookup, namesOf } from './names.ts';
import { accepted, type Outcome, refused, unknownGroup } from './outcome.ts';
import {
  changeGroups,
  choosePrimary,
  memberOf,
  withFounder,
  withFounders,
  withMembership,
} from './primaries.ts';
import { withoutLastCopy, withSuccessor } from './succession.ts';
import { FIRST_STATE_VERSION, LIVES_VERSION, versionOf, withRaisedVersion } from './versions.ts';

type Groups = ClusterState['portalGroups'];
type Nodes = ClusterState['nodes'];

/** The code of the refusal to register a node that did not tell the lives of its directories. */
export const LIVES_UNTOLD = 'lives-untold';

interface Start {
  readonly before: NodeRecord;
  readonly started: NodeRecord;
  /** Copies of the group that it has put out of the way. */
  readonly retired: readonly RetiredCopy[] | undefined;
  /** Of the directory that it has open. */
  readonly told: DirectoryLife | undefined;
}

/** A node has started. See "In-sync members" in the README for what becomes of its groups. */
export function registerNode(
  state: ClusterState,
  command: Extract<Command, { type: 'registerNode' }>,
): Outcome {
  const { nodeId, incarnation, endpoints, disks, stateVersion = FIRST_STATE_VERSION, workers } = command;
  const { boot, retired = {}, lives } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  if (incarnation === '') {
    return refused(state, {
      kind: 'invalid',
      code: 'bad-incarnation',
      message: `node ${nodeId} registers without an incarnation`,
      got: incarnation,
      accepted: 'text that differs at each start',
    });
  }
  if (stateVersion < versionOf(state)) {
    return refused(state, {
      kind: 'conflict',
      code: 'program-too-old',
      message: `node ${nodeId} registers with a program older than the configuration of this cluster`,
      got: `configuration version ${stateVersion}`,
      accepted: `version ${versionOf(state)} or later: upgrade this node`,
    });
  }
  if (node.incarnation === incarnation) {
    return node.status === 'up' ? accepted(state, { nodeId, incarnation }) : fencedForEver(state, node);
  }
  const knowsOfLives = stateVersion >= LIVES_VERSION && versionOf(state) >= LIVES_VERSION;
  if (knowsOfLives && disks !== undefined && lives === undefined) return livesUntold(state, nodeId);
  const { disks: _, workers: __, boot: ___, lives: ____, ...earlier } = node;
  const identified = {
    ...(disks === undefined ? {} : { disks }),
    ...(boot === undefined ? {} : { boot }),
    ...(lives === undefined ? {} : { lives: currentLives(lives) }),
  };
  const working = workers === undefined ? {} : { workers };
  const record: NodeRecord = {
    ...earlier,
    incarnation,
    status: 'up',
    endpoints,
    stateVersion,
    ...identified,
    ...working,
  };
  const nodes = { ...state.nodes, [nodeId]: record };
  const next = changeGroups({ ...state, nodes }, (group, groups) => {
    const told = lookup(lives ?? {}, group.id);
    const start = { before: node, started: record, retired: lookup(retired, group.id), told };
    const known = withLifeOf(withBootOf(group, record), nodeId, told);
    return withLifeOf(withStartedNode(known, groups, nodes, start), nodeId, told);
  });
  return accepted(withRaisedVersion(next), { nodeId, incarnation });
}

/** It did not know yet that all nodes know of these: it is to say so again, which by now it does. */
function livesUntold(state: ClusterState, nodeId: NodeId): Outcome {
  return refused(state, {
    kind: 'conflict',
    code: LIVES_UNTOLD,
    message: `node ${nodeId} registers its directories, and not in which life it has them open`,
    got: 'no lives',
    accepted: 'the lives of its directories, as since version 8 of the configuration',
  });
}

function fencedForEver(state: ClusterState, node: NodeRecord): Outcome {
  return refused(state, {
    kind: 'conflict',
    code: 'incarnation-fenced',
    message: `incarnation ${node.incarnation} of node ${node.nodeId} was fenced; the node must start again`,
    got: node.incarnation,
    accepted: 'an incarnation not used before',
  });
}

function withStartedNode(
  group: PortalGroupRecord,
  groups: Groups,
  nodes: Nodes,
  { before, started, retired, told }: Start,
): PortalGroupRecord {
  if (group.founding === true) return withFounder(group, groups, nodes, started);
  const { nodeId } = started;
  const member = group.inSync.find((m) => m.nodeId === nodeId);
  if (member === undefined) return withPrimaryIfHeadless(group, groups, nodes);
  const renewed = memberOf(started, group);
  // Of a cluster's first start every log is empty, so the member has nothing it could have lost.
  const firstStart = before.incarnation === '';
  if (!firstStart && group.inSync.length > 1) return withoutMember(group, groups, nodes, nodeId);
  const isOther = member.disk !== undefined && member.disk !== renewed.disk;
  if (!firstStart && (isOther || isOldCopy(member, told))) {
    // What it has there is not what was in sync.
    return withoutLastCopy(group, groups, nodes, retired);
  }
  const inSync = group.inSync.map((m) => (m === member ? renewed : m));
  const primary = keepsPrimary(nodes, group.primary) ? group.primary : choosePrimary(groups, nodes, inSync);
  return withMembership(group, inSync, primary);
}

/** A primary that has never started may still do so; the leader fences it if it does not. */
function keepsPrimary(nodes: Nodes, primary: NodeId | undefined): boolean {
  return primary !== undefined && nodes[primary]?.status !== 'fenced';
}

function withPrimaryIfHeadless(group: PortalGroupRecord, groups: Groups, nodes: Nodes): PortalGroupRecord {
  if (keepsPrimary(nodes, group.primary)) return group;
  const primary = choosePrimary(groups, nodes, group.inSync);
  if (primary === undefined) return withSuccessor(group, groups, nodes);
  return withMembership(group, group.inSync, primary);
}

/** Takes a member out; if it was the primary, another follows at once. */
function withoutMember(
  group: PortalGroupRecord,
  groups: Groups,
  nodes: Nodes,
  nodeId: NodeId,
): PortalGroupRecord {
  const inSync = group.inSync.filter((m) => m.nodeId !== nodeId);
  if (group.founding === true) return withFounders(group, inSync, groups, nodes);
  const primary =
    group.primary !== nodeId && keepsPrimary(nodes, group.primary)
      ? group.primary
      : choosePrimary(groups, nodes, inSync);
  return withMembership(group, inSync, primary);
}

/** The node keeps no copy any more. */
export function withoutReplica(
  group: PortalGroupRecord,
  groups: Groups,
  nodes: Nodes,
  nodeId: NodeId,
): PortalGroupRecord {
  if (!group.replicas.includes(nodeId)) return group;
  const replicas = group.replicas.filter((id) => id !== nodeId);
  const changed = group.inSync.some((m) => m.nodeId === nodeId)
    ? withoutMember(group, groups, nodes, nodeId)
    : withMembership(group, group.inSync, group.primary);
  return { ...changed, replicas };
}

/** The leader has lost a node: one entry, from which all its groups' new primaries follow. */
export function fenceNode(state: ClusterState, command: Extract<Command, { type: 'fenceNode' }>): Outcome {
  const { nodeId, incarnation } = command;
  const node = lookup(state.nodes, nodeId);
  if (node === undefined) return unknownNode(state, nodeId);
  if (node.incarnation !== incarnation) {
    return refused(state, {
      kind: 'conflict',
      code: 'other-incarnation',
      message: `node ${nodeId} has started again since`,
      got: incarnation,
      accepted: node.incarnation,
    });
  }
  if (node.status === 'fenced') {
    return refused(state, {
      kind: 'conflict',
      code: 'already-fenced',
      message: `node ${nodeId} is fenced already`,
      got: node.status,
      accepted: 'a node that is not fenced',
    });
  }
  const nodes: Nodes = { ...state.nodes, [nodeId]: { ...node, status: 'fenced' } };
  const next = changeGroups({ ...state, nodes }, (group, groups) => {
    if (group.founding === true) return withFounders(group, group.inSync, groups, nodes);
    if (!group.inSync.some((m) => m.nodeId === nodeId)) return group;
    // The last member has writes nobody else has: it stays, and the group waits for it.
    if (group.inSync.length === 1) return withMembership(group, group.inSync, undefined);
    return withoutMember(group, groups, nodes, nodeId);
  });
  return accepted(next, { nodeId, incarnation });
}

/** What a group's primary proposes of the in-sync set: each a compare-and-set on the epoch. */
export function changeInSync(
  state: ClusterState,
  command: Extract<Command, { type: 'shrinkInSync' | 'expandInSync' | 'handOverGroup' }>,
): Outcome {
  switch (command.type) {
    case 'shrinkInSync':
      return shrinkInSync(state, command);
    case 'expandInSync':
      return expandInSync(state, command);
    case 'handOverGroup':
      return handOverGroup(state, command);
  }
}

/** Compare-and-set: a backup leaves the in-sync set. */
function shrinkInSync(state: ClusterState, command: Extract<Command, { type: 'shrinkInSync' }>): Outcome {
  const group = comparedGroup(state, command);
  if ('result' in group) return group;
  const { remove } = command;
  if (!group.inSync.some((m) => m.nodeId === remove)) {
    return refused(state, {
      kind: 'conflict',
      code: 'not-in-sync',
      message: `node ${remove} is not in sync in portal group ${group.id}`,
      got: remove,
      accepted: memberNames(group.inSync),
    });
  }
  if (remove === group.primary || group.inSync.length === 1) {
    return refused(state, {
      kind: 'conflict',
      code: 'last-or-primary',
      message: `node ${remove} is the primary of portal group ${group.id}, which always stays in sync`,
      got: remove,
      accepted: 'one of its backups',
    });
  }
  const inSync = group.inSync.filter((m) => m.nodeId !== remove);
  return withGroup(state, withMembership(group, inSync, group.primary));
}

/** Compare-and-set: a backup that has caught up joins the in-sync set. */
function expandInSync(state: ClusterState, command: Extract<Command, { type: 'expandInSync' }>): Outcome {
  const group = comparedGroup(state, command);
  if ('result' in group) return group;
  const { add, incarnation } = command;
  if (!group.replicas.includes(add)) {
    return refused(state, {
      kind: 'conflict',
      code: 'not-a-replica',
      message: `node ${add} is no replica of portal group ${group.id}`,
      got: add,
      accepted: group.replicas.join(', '),
    });
  }
  if (group.inSync.some((m) => m.nodeId === add)) {
    return refused(state, {
      kind: 'conflict',
      code: 'already-in-sync',
      message: `node ${add} is in sync in portal group ${group.id} already`,
      got: add,
      accepted: 'a replica that is not in sync',
    });
  }
  // What caught up was one incarnation; a later one may have lost it again.
  const node = state.nodes[add];
  if (node?.status !== 'up' || node.incarnation !== incarnation) {
    return refused(state, {
      kind: 'conflict',
      code: 'not-up',
      message: `incarnation ${incarnation} of node ${add} is not up`,
      got: incarnation,
      accepted: `the incarnation that is up (${node?.incarnation ?? 'none'})`,
    });
  }
  const added = memberOf(node, group);
  if (node.disks !== undefined && added.disk === undefined) {
    return refused(state, {
      kind: 'conflict',
      code: 'unknown-disk',
      message: `node ${add} has not said which directory holds its copy of portal group ${group.id}`,
      got: add,
      accepted: 'a replica that has',
    });
  }
  const inSync = [...group.inSync, added];
  return withGroup(state, withMembership(group, inSync, group.primary));
}

/**
 * Compare-and-set: a primary that cannot write to its own disk leaves the set, and another member leads. Everything acknowledged
 * is on all of them. Fewer than writes need are not left: nobody would be helped.
 */
function handOverGroup(state: ClusterState, command: Extract<Command, { type: 'handOverGroup' }>): Outcome {
  const group = comparedGroup(state, command);
  if ('result' in group) return group;
  const inSync = group.inSync.filter((m) => m.nodeId !== command.primary);
  const primary = choosePrimary(state.portalGroups, state.nodes, inSync);
  if (primary === undefined || inSync.length < group.minInSync) {
    return refused(state, {
      kind: 'conflict',
      code: 'no-successor',
      message: `nobody can take portal group ${group.id} over from node ${command.primary}`,
      got: memberNames(inSync),
      accepted: `${Math.max(1, group.minInSync)} or more other members in sync, one of which is up`,
    });
  }
  return withGroup(state, withMembership(group, inSync, primary));
}

function comparedGroup(
  state: ClusterState,
  command: { readonly group: string; readonly epoch: number; readonly primary: NodeId },
): PortalGroupRecord | Outcome {
  const group = lookup(state.portalGroups, command.group);
  if (group === undefined) return unknownGroup(state, command.group);
  if (group.epoch !== command.epoch || group.primary !== command.primary) {
    return refused(state, {
      kind: 'conflict',
      code: 'stale-epoch',
      message: `portal group ${group.id} is at epoch ${group.epoch} under ${group.primary ?? 'no primary'}`,
      got: { epoch: command.epoch, primary: command.primary },
      accepted: `epoch ${group.epoch} of ${group.primary ?? 'no primary'}`,
    });
  }
  return group;
}

function withGroup(state: ClusterState, group: PortalGroupRecord): Outcome {
  const portalGroups = { ...state.portalGroups, [group.id]: group };
  return accepted({ ...state, portalGroups }, { group: group.id, epoch: group.epoch });
}

function memberNames(members: readonly InSyncMember[]): string {
  return members.map((m) => m.nodeId).join(', ');
}

export function unknownNode(state: ClusterState, nodeId: NodeId): Outcome {
  return refused(state, refusalOfNode(state, nodeId));
}

/** Of a node that is not in the cluster, or no longer. */
export function refusalOfNode(state: ClusterState, nodeId: NodeId): CommandRefusal {
  const isFormer = lookup(state.removedNodes, nodeId) !== undefined;
  const told = { got: nodeId, accepted: namesOf(state.nodes) };
  return isFormer
    ? {
        kind: 'conflict',
        code: 'node-removed',
        message: `node ${nodeId} was removed from the cluster`,
        ...told,
      }
    : { kind: 'not-found', code: 'unknown-node', message: `the cluster has no node "${nodeId}"`, ...told };
}
