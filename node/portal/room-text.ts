import type { RoomStatus } from '../../storage/replication/portal-group.ts';

/** What an administrator is to know of the disks of a group's logs; undefined: they have room. */
export function describeRoom({ isExhausted, isRunningOut, lowMembers }: RoomStatus): string | undefined {
  const where = lowMembers.length === 0 ? '' : ` on ${lowMembers.join(', ')}`;
  if (isExhausted) return `clients are refused space: only the reserve for compaction is left${where}`;
  if (lowMembers.length > 0)
    return `only the reserve for compaction is left${where}, which takes no clients' writes`;
  return isRunningOut ? 'the disk fills up: clients will be refused space before long' : undefined;
}
