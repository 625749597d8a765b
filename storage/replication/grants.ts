import { type MemberIdentity, sameMember } from './group-state.ts';

/** A promise not to serve before a moment, given to a process while it is primary. */
export interface Grant extends MemberIdentity {
  /** On this member's monotonic clock. */
  readonly untilMs: number;
}

/** The grants with one more to `to`; of each process the longest counts, and those run out are forgotten. */
export function withGrant(
  grants: readonly Grant[],
  to: MemberIdentity,
  untilMs: number,
  nowMs: number,
): readonly Grant[] {
  let longestMs = untilMs;
  const others: Grant[] = [];
  for (const grant of grants) {
    if (sameMember(grant, to)) longestMs = Math.max(longestMs, grant.untilMs);
    else if (grant.untilMs > nowMs) others.push(grant);
  }
  const { nodeId, incarnation } = to;
  return [...others, { nodeId, incarnation, untilMs: longestMs }];
}

/** The grants without those to `by`, which that very process has given back. Those to others still bind. */
export function withoutGrant(grants: readonly Grant[], by: MemberIdentity): readonly Grant[] {
  if (grants.every((grant) => !sameMember(grant, by))) return grants;
  return grants.filter((grant) => !sameMember(grant, by));
}

/** From then on no other node can be serving on the strength of a grant of ours. */
export function boundUntilMs(grants: readonly Grant[]): number {
  let untilMs = Number.NEGATIVE_INFINITY;
  for (const grant of grants) untilMs = Math.max(untilMs, grant.untilMs);
  return untilMs;
}

const FORGOTTEN: MemberIdentity = { nodeId: '', incarnation: '' };

/** A grant from before a restart: to whom it was is forgotten, so nobody can give it back. */
export function forgottenGrant(untilMs: number): Grant {
  return { ...FORGOTTEN, untilMs };
}

/** The grants of this very process alone. */
export function withoutForgotten(grants: readonly Grant[]): readonly Grant[] {
  return withoutGrant(grants, FORGOTTEN);
}
