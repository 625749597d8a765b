import { soleMember } from './departed.ts';
import type { ClusterState, DepartedMember, InSyncMember, NodeId, PortalGroupRecord } from './model.ts';
import { lookup } from './names.ts';
import { isUp } from './primaries.ts';
import { isBack, keptAll, wholeAtRetirement } from './succession.ts';

/** Why nobody serves a group, and what an administrator can do; undefined when somebody may. */
export function waitingReason(state: ClusterState, group: PortalGroupRecord): string | undefined {
  if (group.primary !== undefined) return undefined;
  if (group.founding === true) return 'it has been added, and its nodes have yet to make their copies';
  const last = soleMember(group.inSync);
  if (last === undefined) return 'none of its in-sync members is up';
  const { nodeId } = last;
  const isKnownLost = group.retired !== undefined || isUp(state.nodes, nodeId);
  return isKnownLost ? describeLost(state, group, last) : `its last in-sync member, ${nodeId}, is not up`;
}

function describeLost(state: ClusterState, group: PortalGroupRecord, last: InSyncMember): string {
  const { nodeId, disk } = last;
  const { retired } = group;
  const isOld = isOlderCopy(state, group, last);
  const lost =
    retired === undefined
      ? isOld
        ? `node ${nodeId}, its last in-sync member, is up over an older copy of the disk that was in sync (${disk}), as from a ` +
          'backup or a snapshot: what was acknowledged since that was made is not in it'
        : `node ${nodeId}, its last in-sync member, is up without the disk that was in sync (${disk})`
      : `the copy of ${nodeId}, its last in-sync member, is damaged and was set aside there (disk ${disk}); ` +
        `it had been in use up to epoch ${retired.epoch}`;
  const copies = group.replicas.map((id) => `${id} ${describeCopy(state, group, id)}`);
  const wholeIsDown = wholeAtRetirement(group).filter(
    (member) => keptAll(member) && !isBack(group, state.nodes, member),
  );
  const start =
    wholeIsDown.length > 0
      ? `start ${wholeIsDown.map((member) => member.nodeId).join(' or ')}, which has everything`
      : isOld
        ? 'put the newest copy of that disk back in its place and start the node again'
        : 'bring that disk back and start the node again';
  return (
    `${lost}. Copies: ${copies.join('; ')}. Either ${start}, or give up what the copy you choose lacks with ` +
    `"bootfabric portal-group start-from ${group.id} NODE --i-accept-data-loss", which first reads that copy through`
  );
}

/** Whether a node is up over the directory that a member had, as it was before the life that the member is known by. */
function isOlderCopy(
  { nodes }: ClusterState,
  { id }: PortalGroupRecord,
  { nodeId, disk, life }: InSyncMember | DepartedMember,
): boolean {
  const node = nodes[nodeId];
  const isSameDisk = disk !== undefined && lookup(node?.disks ?? {}, id) === disk;
  return isUp(nodes, nodeId) && isSameDisk && life !== undefined && lookup(node?.lives ?? {}, id) !== life;
}

/** What is known of one copy that is not in sync. */
function describeCopy(state: ClusterState, group: PortalGroupRecord, nodeId: NodeId): string {
  const node = state.nodes[nodeId];
  const up = isUp(state.nodes, nodeId) ? 'is up' : 'is not up';
  const member = group.inSync.find((m) => m.nodeId === nodeId);
  if (member !== undefined) {
    return isOlderCopy(state, group, member)
      ? `${up} over an older copy of its directory`
      : `${up} over another, newer directory`;
  }
  const left = group.departed?.find((member) => member.nodeId === nodeId);
  if (left === undefined) return `${up}, and lacks what was acknowledged since it was last in sync`;
  const here = lookup(node?.disks ?? {}, group.id);
  if (here !== undefined && here !== left.disk)
    return `${up} over another directory than the one that was in sync`;
  if (isOlderCopy(state, group, left)) return `${up} over an older copy of the directory that was in sync`;
  const power = left.lostPower === true ? ' and what was not flushed when its host lost power' : '';
  if (!wholeAtRetirement(group).includes(left)) {
    const untilEpoch = group.retired?.epoch;
    const until = untilEpoch === undefined ? '' : ` to ${untilEpoch}`;
    return `${up}, and may lack what was acknowledged in epochs ${left.epoch}${until}${power}`;
  }
  if (left.lostPower === true) return `${up}, and may lack${power.slice(' and'.length)}`;
  if (left.boot === '')
    return `${up}, and may lack what was not flushed, as its host cannot tell its boots apart`;
  return `${up}, and has everything`;
}
