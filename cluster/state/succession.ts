import { soleMember } from './departed.ts';
import { isKnownBy } from './lives.ts';
import type {
  DepartedMember,
  InSyncMember,
  NodeId,
  NodeRecord,
  PortalGroupRecord,
  RetiredCopy,
} from './model.ts';
import { lookup } from './names.ts';
import { choosePrimary, isUp, memberOf, withMembership } from './primaries.ts';

/**
 * When the last in-sync copy of a group is damaged, and another one is known to have all that was ever acknowledged, the
 * group goes on from that one (docs/adr/0025). Known it is by what the damaged copy itself says: if no process over it has
 * answered in the epoch in which the other one left, nothing was acknowledged without the other.
 */

type Nodes = Readonly<Record<NodeId, NodeRecord>>;
type Groups = Readonly<Record<string, PortalGroupRecord>>;

/**
 * The last in-sync member's node is up without that copy: the group goes on from another one that has everything, or waits.
 * @param retired copies that the node has put out of the way
 */
export function withoutLastCopy(
  group: PortalGroupRecord,
  groups: Groups,
  nodes: Nodes,
  retired: readonly RetiredCopy[] | undefined,
): PortalGroupRecord {
  const { primary, retired: known, ...rest } = group;
  const last = soleMember(group.inSync);
  const copy = retired?.find(
    ({ disk, processes, lives = [] }) =>
      disk === last?.disk && processes.includes(last.incarnation) && isKnownBy(last.life, lives),
  );
  const said = copy ?? known;
  const waiting: PortalGroupRecord = { ...rest, ...(said === undefined ? {} : { retired: said }) };
  const next = withSuccessor(waiting, groups, nodes);
  if (next !== waiting) return next;
  if (primary === undefined) return copy === undefined || isSameCopy(copy, known) ? group : waiting;
  return {
    ...withMembership(group, group.inSync, undefined),
    ...(copy === undefined ? {} : { retired: copy }),
  };
}

function isSameCopy(a: RetiredCopy, b: RetiredCopy | undefined): boolean {
  return a.disk === b?.disk && a.epoch === b.epoch;
}

/** The group, led by a copy that has everything where its last one is out of use and there is such a copy. */
export function withSuccessor(group: PortalGroupRecord, groups: Groups, nodes: Nodes): PortalGroupRecord {
  const heirs = heirsOf(group, nodes).map(({ nodeId }) => memberOf(nodes[nodeId] as NodeRecord, group));
  const primary = choosePrimary(groups, nodes, heirs);
  const successor = heirs.find(({ nodeId }) => nodeId === primary);
  if (primary === undefined || successor?.disk === undefined) return group;
  const next = withMembership(group, [successor], primary);
  const departed = stillWhole(group, successor, next.epoch);
  const { departed: _, ...rest } = next;
  return { ...rest, resumedEpoch: next.epoch, ...(departed.length === 0 ? {} : { departed }) };
}

/** Nothing was acknowledged in between: as if the others had left only now. */
function stillWhole(group: PortalGroupRecord, successor: InSyncMember, epoch: number): DepartedMember[] {
  const whole = wholeAtRetirement(group);
  const isLost = whole.find(({ nodeId }) => nodeId === successor.nodeId)?.lostPower === true;
  return whole
    .filter(({ nodeId }) => nodeId !== successor.nodeId)
    .map(({ nodeId, disk, life, boot, lostPower }) => ({
      nodeId,
      disk,
      ...(life === undefined ? {} : { life }),
      boot,
      epoch,
      under: successor.disk as string,
      ...(lostPower === true ? { lostPower } : {}),
      ...(isLost ? { successorLostPower: true as const } : {}),
    }));
}

/** Members without which nothing has been acknowledged, whatever has become of their copies since. */
export function wholeAtRetirement({
  inSync,
  primary,
  retired,
  departed,
}: PortalGroupRecord): DepartedMember[] {
  const last = soleMember(inSync);
  if (retired === undefined || primary !== undefined || last?.disk !== retired.disk) return [];
  return (departed ?? []).filter(({ epoch, under }) => under === retired.disk && epoch > retired.epoch);
}

/** Whether a departed member's node is up over the very directory that was in sync. */
export function isBack(
  group: PortalGroupRecord,
  nodes: Nodes,
  { nodeId, disk, life }: DepartedMember,
): boolean {
  const here = lookup(nodes[nodeId]?.disks ?? {}, group.id);
  const lifeHere = lookup(nodes[nodeId]?.lives ?? {}, group.id);
  const isSame = here === disk && (life === undefined || lifeHere === life);
  return isUp(nodes, nodeId) && isSame && group.replicas.includes(nodeId);
}

/** Whether its copy still has what no client had flushed. */
export function keptAll({ boot, lostPower }: DepartedMember): boolean {
  return boot !== '' && lostPower !== true;
}

function heirsOf(group: PortalGroupRecord, nodes: Nodes): DepartedMember[] {
  const whole = wholeAtRetirement(group);
  const back = whole.filter((member) => isBack(group, nodes, member));
  const kept = back.filter(keptAll);
  if (kept.length > 0) return kept;
  // What was not flushed is gone with the power of all; of one that is not back yet nobody knows.
  const haveAllLost = whole.every(
    ({ nodeId, lostPower, successorLostPower }) =>
      successorLostPower === true && (lostPower === true || lookup(nodes, nodeId) === undefined),
  );
  return haveAllLost ? back : [];
}
