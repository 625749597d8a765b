import type { AckFrame } from './frame.ts';
import { ARREARS_MAX_MS, MAX_OWN_PAUSES, OWN_PAUSE_MS, SLOW_MS, TICK_MS } from './limits.ts';
import type { Member, PrimaryState, ProgressMark } from './primary-state.ts';

/** How far a member says that it has come. */
export function noteProgress(member: Member, frame: AckFrame, nowMs: number): void {
  const durableIndex = Math.min(frame.durableIndex, frame.nextIndex);
  if (frame.nextIndex > member.ackedIndex) {
    member.ackedIndex = frame.nextIndex;
    member.progressMs = nowMs;
  }
  if (durableIndex > member.durableIndex) {
    member.durableIndex = durableIndex;
    member.durableProgressMs = nowMs;
  }
}

/** Remembers the ends of the log, so that arrears can be dated. */
export function markProgress(state: PrimaryState, nowMs: number): void {
  const { marks } = state;
  const { nextIndex, appendedIndex } = state.core.log;
  marks.push({ atMs: nowMs, nextIndex, appendedIndex, syncIndex: Math.min(state.syncIndex, appendedIndex) });
  while (marks.length > 0 && nowMs - (marks[0] as ProgressMark).atMs > ARREARS_MAX_MS + SLOW_MS)
    marks.shift();
}

/**
 * Nobody's answers could be heard during a pause of this process: it adds nothing to what is owed, and for a moment after it
 * nobody is judged. Not so for ever, where one pause follows the other: between two of them what has come is read.
 * @param elapsedMs since the last tick
 */
export function noteOwnPauses(state: PrimaryState, elapsedMs: number, nowMs: number): void {
  if (elapsedMs < OWN_PAUSE_MS) {
    if (nowMs >= state.patientUntilMs) state.ownPauses = 0;
    return;
  }
  for (const mark of state.marks) mark.atMs += elapsedMs - TICK_MS;
  if (++state.ownPauses > MAX_OWN_PAUSES) return;
  state.patientUntilMs = Math.max(state.patientUntilMs, nowMs + OWN_PAUSE_MS);
}

/** When the oldest mark that is `missed` was made; what one mark asks for, all later ones ask for too. */
export function owedSinceMs(
  { marks }: PrimaryState,
  missed: (mark: ProgressMark) => boolean,
): number | undefined {
  let oldest = marks.length;
  while (oldest > 0 && missed(marks[oldest - 1] as ProgressMark)) oldest--;
  return marks[oldest]?.atMs;
}

/** How long ago that was; 0: nothing is owed. */
export function arrearsMs(
  state: PrimaryState,
  nowMs: number,
  missed: (mark: ProgressMark) => boolean,
): number {
  return nowMs - (owedSinceMs(state, missed) ?? nowMs);
}
