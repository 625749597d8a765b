import { memberOf, othersInSync, type PrimaryState } from './primary-state.ts';

/**
 * What becomes of a group when an in-sync member's disk has only its reserve left. It has to take all that is written
 * for as long as it is in the set, so the reserve, which is for compaction, would go to clients' writes.
 *
 * 1. Where it is alone with that, it is put out of the set like one that failed: one node's disk stops no client.
 * 2. Where the others are about to be as short of room, or the group may not do without it, the space of the group is
 *    exhausted: clients are refused space, on the primary, as if its own disk were low. To go on without the copies
 *    would win little room, and cost the redundancy of all groups at once.
 *
 * @returns the id of a member to be put out of the set
 */
export function lowMemberToSpare(state: PrimaryState): string | undefined {
  const low: string[] = [];
  let isAnyFilling = state.core.room.isFilling;
  for (const identity of othersInSync(state)) {
    const member = memberOf(state, identity);
    if (member?.low === true) low.push(member.nodeId);
    else isAnyFilling ||= member?.filling === true;
  }
  const left = state.group.inSync.length - low.length;
  return isAnyFilling || left < state.group.minInSync ? undefined : low[0];
}

/** The reserve of a disk that the group depends on is all that is left for its log. */
export function isOutOfRoom(state: PrimaryState): boolean {
  if (state.core.room.isLow) return true;
  // Asked before each write.
  let isAnyLow = false;
  for (const member of state.members.values()) isAnyLow ||= member.low;
  if (!isAnyLow) return false;
  const isNeeded = othersInSync(state).some((identity) => memberOf(state, identity)?.low === true);
  return isNeeded && lowMemberToSpare(state) === undefined;
}
