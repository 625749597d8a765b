import type { DepartedMember, InSyncMember, NodeRecord, PortalGroupRecord } from './model.ts';

/**
 * Members that have left a group's in-sync set and may still turn out to have everything. Such a copy has all that was
 * acknowledged before the epoch in which it left. It is remembered for as long as all primaries since have been over one
 * directory, the one of `under`: then that copy alone can tell whether anything was acknowledged without it.
 */

/**
 * What is remembered from the group's next epoch on.
 * @param inSync its members from then on
 * @param primary undefined: none
 */
export function departedAfter(
  group: PortalGroupRecord,
  inSync: readonly InSyncMember[],
  primary: string | undefined,
): readonly DepartedMember[] {
  // Nobody else can be its primary after one that is the last.
  const leader = primary === undefined ? soleMember(inSync) : inSync.find(({ nodeId }) => nodeId === primary);
  const under = leader?.disk;
  if (under === undefined) return [];
  const isOut = ({ nodeId }: { readonly nodeId: string }): boolean =>
    !inSync.some((member) => member.nodeId === nodeId);
  const before = (group.departed ?? []).filter((departed) => departed.under === under && isOut(departed));
  const leaving = group.inSync.filter(isOut).flatMap(({ nodeId, disk, life, boot }): DepartedMember[] =>
    // What a node of an earlier version says does not tell these things apart.
    disk === undefined || boot === undefined
      ? []
      : [{ nodeId, disk, ...(life === undefined ? {} : { life }), boot, epoch: group.epoch + 1, under }],
  );
  return [...before, ...leaving];
}

export function soleMember(inSync: readonly InSyncMember[]): InSyncMember | undefined {
  return inSync.length === 1 ? inSync[0] : undefined;
}

/** The group once it is known in which run of its kernel a node's host is now. */
export function withBootOf(group: PortalGroupRecord, node: NodeRecord): PortalGroupRecord {
  const { departed } = group;
  if (departed === undefined) return group;
  const last = soleMember(group.inSync);
  const marked = departed.map((member) => {
    const own = member.nodeId === node.nodeId ? withOwnBoot(member, node.boot) : member;
    const isSuccessor = last?.nodeId === node.nodeId && last.disk === member.under;
    const hasLost = last?.boot !== undefined && node.boot !== undefined && last.boot !== node.boot;
    return isSuccessor && hasLost && own.successorLostPower !== true
      ? { ...own, successorLostPower: true as const }
      : own;
  });
  return marked.every((member, i) => member === departed[i]) ? group : { ...group, departed: marked };
}

function withOwnBoot(member: DepartedMember, boot: string | undefined): DepartedMember {
  if (member.lostPower === true || member.boot === '' || boot === member.boot) return member;
  return boot === undefined ? { ...member, boot: '' } : { ...member, lostPower: true };
}
