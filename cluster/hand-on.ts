import type { Clock, Timers } from '../base/clock.ts';
import { HAND_ON_CHECK_MS, HAND_ON_MS } from './limits.ts';
import type { RaftStatus, RawNode } from './raft/index.ts';

export function otherVoters({ id, progress }: RaftStatus): RaftStatus['progress'] {
  return progress.filter((p) => p.id !== id && !p.isLearner);
}

/** Of the other voters that answer, the one whose log reaches farthest: it can lead soonest. */
export function mostAdvanced(status: RaftStatus): number | undefined {
  const active = otherVoters(status).filter((p) => p.recentActive);
  return [...active].sort((a, b) => b.match - a.match)[0]?.id;
}

/**
 * Lets another member lead, if this one does: resolves when one does, or after HAND_ON_MS all the same.
 * @param stepped called when there is something for Raft's driver to carry out
 */
export async function handOn(
  raw: RawNode,
  { clock, timers }: { readonly clock: Clock; readonly timers: Timers },
  stepped: () => void,
): Promise<void> {
  const best = raw.role === 'leader' ? mostAdvanced(raw.status()) : undefined;
  if (best === undefined) return;
  const untilMs = clock.monotonicMs() + HAND_ON_MS;
  raw.transferLeader(best);
  stepped();
  while (raw.leader !== best && clock.monotonicMs() < untilMs) {
    await new Promise<void>((resolve) => timers.setTimer(HAND_ON_CHECK_MS, resolve));
  }
}
