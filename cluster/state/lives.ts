import type { DirectoryLife, InSyncMember, NodeId, PortalGroupId, PortalGroupRecord } from './model.ts';

/**
 * Lives of the directories that hold copies of portal groups. A process that opens one begins a life of it, random, and
 * writes it down there before it registers. The cluster knows each member by the life in which its directory was last open; a
 * directory that has never had that life is what it was some time ago, as an old disk or a backup that was put back
 * (docs/adr/0027).
 */

/** Whether a directory with these lives may be the one that the cluster knows by that life. */
export function isKnownBy(life: string | undefined, lives: readonly string[]): boolean {
  return life === undefined || lives.includes(life);
}

/** Whether what the member's node has open is not the copy that was in sync, but what it was some time before. */
export function isOldCopy({ life }: InSyncMember, told: DirectoryLife | undefined): boolean {
  return !isKnownBy(life, told === undefined ? [] : [...told.former, told.life]);
}

/** For the record of the node. */
export function currentLives(
  lives: Readonly<Record<PortalGroupId, DirectoryLife>>,
): Record<PortalGroupId, string> {
  return Object.fromEntries(Object.entries(lives).map(([group, { life }]) => [group, life]));
}

/**
 * The group once a process of the node has opened that directory. What the node left the set with is known by the new
 * life, if it is that; a member in sync is for the caller to look at.
 */
export function withLifeOf(
  group: PortalGroupRecord,
  nodeId: NodeId,
  told: DirectoryLife | undefined,
): PortalGroupRecord {
  if (told === undefined || group.departed === undefined) return group;
  const departed = group.departed.map((member) => {
    const isIt = member.nodeId === nodeId && member.life !== undefined && told.former.includes(member.life);
    return isIt ? { ...member, life: told.life } : member;
  });
  const isSame = departed.every((member, i) => member === group.departed?.[i]);
  return isSame ? group : { ...group, departed };
}

/** The same where the node's process, which is in sync, tells of a life only now. */
export function withMemberLife(
  group: PortalGroupRecord,
  { nodeId, incarnation }: InSyncMember,
  { life }: DirectoryLife,
): PortalGroupRecord {
  const isIt = (member: InSyncMember): boolean =>
    member.nodeId === nodeId && member.incarnation === incarnation && member.life !== life;
  if (!group.inSync.some(isIt)) return group;
  return { ...group, inSync: group.inSync.map((member) => (isIt(member) ? { ...member, life } : member)) };
}
