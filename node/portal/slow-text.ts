import type { SlowMember } from '../../storage/replication/portal-group.ts';

/** What an administrator is to know of members that hold clients up; undefined: there are none. */
export function describeSlow(slow: readonly SlowMember[], primary: string | undefined): string | undefined {
  return slow.length === 0 ? undefined : slow.map((member) => describe(member, primary)).join('; ');
}

function describe(
  { nodeId, tookMs, othersTookMs, returnsInMs, stalledMs, hasHandedOver }: SlowMember,
  primary: string | undefined,
): string {
  if (stalledMs !== undefined) {
    const forSeconds = Math.round(stalledMs / 1_000);
    return `${nodeId}, which leads the group, has a disk that has taken nothing for ${forSeconds} s, and no other copy can take over`;
  }
  const pace = `${Math.round(tookMs)} ms for what takes others ${Math.round(othersTookMs)} ms`;
  if (returnsInMs !== undefined) {
    const when =
      returnsInMs > 0 ? `in ${Math.ceil(returnsInMs / 1_000)} s at the earliest` : 'once it keeps up';
    if (hasHandedOver === true)
      return `${nodeId} led the group until its disk took nothing any more, and is let in again ${when}`;
    return `${nodeId} was taken out of the in-sync set for being slow (${pace}), and is let in again ${when}`;
  }
  if (nodeId === primary)
    return `${nodeId}, which leads the group, is slow (${pace}), and clients go at its pace: move the group`;
  return `${nodeId} is slow (${pace}), and clients go at its pace: it is kept in sync while too few others are`;
}
