import { isInSync, type PortalGroupState } from './group-state.ts';
import {
  PACE_MIN_IN_SYNC,
  PACE_SLOW_MS,
  PACE_SLOW_SYNC_MS,
  SLOW_WINDOW_BYTES,
  WINDOW_BYTES,
} from './limits.ts';
import { stalledForMs } from './own-disk.ts';
import type { SlowMember } from './portal-group.ts';
import {
  type Member,
  memberOf,
  othersInSync,
  type PrimaryState,
  type ProgressMark,
} from './primary-state.ts';
import { owedSinceMs } from './progress.ts';
import {
  follow,
  forgetPromptness,
  isSlow,
  isSlowBeside,
  maybeForgive,
  othersTakeMs,
  type Promptness,
  putOff,
  type Task,
  takesMs,
  weigh,
} from './promptness.ts';

/**
 * Every in-sync member has to have a write, so clients go at the pace of the slowest. What becomes of one that goes on all
 * the while, but much slower than the others (docs/adr/0026):
 *
 * 1. It is put out of the set once it has held writes up for long enough, as one that failed is: by an entry of the cluster log.
 * 2. Redundancy is never given up for speed: as many stay as writes need, and two in any case. So a group of two copies
 *    goes at the pace of the slower one.
 * 3. It catches up beside what clients write, and is let in again, but after a longer and longer time: each time it may hold
 *    clients up once more. Where there are too few without it, it is let in at once.
 */

/** At each tick: how those in the set do beside each other, this primary among them. @param elapsedMs since the last one */
export function watchPromptness(state: PrimaryState, elapsedMs: number, nowMs: number): void {
  // As after a pause of this process.
  if (state.phase !== 'serving' || nowMs < state.patientUntilMs) {
    forgetAll(state);
    return;
  }
  const watched = [state.promptness];
  followPrimary(state, nowMs);
  for (const identity of othersInSync(state)) {
    const member = memberOf(state, identity);
    // One without a link is no slow one, and is about to go.
    if (member?.linkUp !== true) continue;
    followMember(state, member, nowMs);
    maybeForgive(member.promptness, nowMs);
    watched.push(member.promptness);
  }
  state.isAnySlow = false;
  for (const promptness of watched) {
    const others = watched.filter((other) => other !== promptness);
    weigh(promptness, lookAt(state, promptness, others, nowMs), elapsedMs, nowMs);
    state.isAnySlow ||= isSlow(promptness);
  }
}

function followPrimary(state: PrimaryState, nowMs: number): void {
  const { log } = state.core;
  const { write, sync } = state.promptness;
  const doneIndex = isDurable(state) ? log.durableIndex : log.appendedIndex;
  followTask(state, write, doneIndex, (mark) => mark.nextIndex, nowMs);
  followSync(state, sync, log.durableIndex, nowMs);
}

/** Of a member is asked what this primary has appended. */
function followMember(
  state: PrimaryState,
  { ackedIndex, durableIndex, promptness }: Member,
  nowMs: number,
): void {
  const doneIndex = isDurable(state) ? durableIndex : ackedIndex;
  followTask(state, promptness.write, doneIndex, (mark) => mark.appendedIndex, nowMs);
  followSync(state, promptness.sync, durableIndex, nowMs);
}

/** In durable mode that is what is asked for with every write. */
function followSync(state: PrimaryState, task: Task, durableIndex: number, nowMs: number): void {
  if (!isDurable(state)) followTask(state, task, durableIndex, (mark) => mark.syncIndex, nowMs);
}

function followTask(
  state: PrimaryState,
  task: Task,
  doneIndex: number,
  askedOf: (mark: ProgressMark) => number,
  nowMs: number,
): void {
  const [last, previous] = [state.marks.at(-1), state.marks.at(-2)];
  const isMoreAsked = last !== undefined && previous !== undefined && askedOf(last) > askedOf(previous);
  follow(
    task,
    owedSinceMs(state, (mark) => doneIndex < askedOf(mark)),
    isMoreAsked,
    nowMs,
  );
}

function isDurable({ group }: PrimaryState): boolean {
  return group.durability === 'durable';
}

function lookAt(
  state: PrimaryState,
  promptness: Promptness,
  others: readonly Promptness[],
  nowMs: number,
): 'idle' | 'slow' | 'prompt' {
  let look: 'idle' | 'prompt' = 'idle';
  for (const kind of ['write', 'sync'] as const) {
    const task = promptness[kind];
    if (task.isIdle) continue;
    look = 'prompt';
    const tookMs = takesMs(task, nowMs);
    const othersTookMs = othersTakeMs(others.map((other) => takesMs(other[kind], nowMs)));
    const boundMs = kind === 'sync' || isDurable(state) ? PACE_SLOW_SYNC_MS : PACE_SLOW_MS;
    if (!isSlowBeside(tookMs, othersTookMs, boundMs)) continue;
    promptness.tookMs = tookMs;
    promptness.othersTookMs = othersTookMs;
    return 'slow';
  }
  return look;
}

/** @returns the id of a member to be put out of the set for being slow */
export function slowMemberToSpare(state: PrimaryState, nowMs: number): string | undefined {
  // Asked with every event.
  if (!state.isAnySlow || state.phase !== 'serving' || nowMs < state.patientUntilMs) return undefined;
  let slowest: Member | undefined;
  let inReach = 1;
  for (const identity of othersInSync(state)) {
    const member = memberOf(state, identity);
    if (member?.linkUp !== true) continue;
    inReach++;
    const isSlower = member.promptness.tookMs > (slowest?.promptness.tookMs ?? 0);
    if (isSlow(member.promptness) && isSlower) slowest = member;
  }
  return inReach - 1 >= neededInSync(state) ? slowest?.nodeId : undefined;
}

function neededInSync({ group }: PrimaryState): number {
  return Math.max(group.minInSync, PACE_MIN_IN_SYNC);
}

/** Whether it may come back into the set, as far as its pace goes. */
export function mayReturn(state: PrimaryState, { promptness }: Member, nowMs: number): boolean {
  return nowMs >= promptness.returnMs || state.group.inSync.length < neededInSync(state);
}

/** The set is another one than `before`: what was seen with that says nothing of this one. */
export function noteSetChanged(state: PrimaryState, before: PortalGroupState, nowMs: number): void {
  for (const member of state.members.values()) {
    const { promptness } = member;
    const wasInSync = isInSync(before, member);
    if (isInSync(state.group, member) === wasInSync) continue;
    promptness.hasStalled = false;
    if (!wasInSync) promptness.inSyncSinceMs = nowMs;
    else if (isSlow(promptness)) putOff(promptness, nowMs);
    member.windowBytes = wasInSync && promptness.backOffMs > 0 ? SLOW_WINDOW_BYTES : WINDOW_BYTES;
  }
  forgetAll(state);
}

function forgetAll(state: PrimaryState): void {
  state.isAnySlow = false;
  forgetPromptness(state.promptness);
  for (const { promptness } of state.members.values()) forgetPromptness(promptness);
}

/** For status: who is slow, and who is out of the set for it. */
export function slowMembers(state: PrimaryState, nowMs: number): SlowMember[] {
  const { core, promptness } = state;
  const stalledMs = stalledForMs(state);
  const found: SlowMember[] = [];
  if (stalledMs > 0) found.push({ ...slowMember(core.self.nodeId, promptness, undefined), stalledMs });
  else if (isSlow(promptness)) found.push(slowMember(core.self.nodeId, promptness, undefined));
  for (const member of state.members.values()) {
    const isOut = !isInSync(state.group, member) && member.promptness.backOffMs > 0;
    const returnsInMs = isOut ? Math.max(0, member.promptness.returnMs - nowMs) : undefined;
    if (isOut || isSlow(member.promptness))
      found.push(slowMember(member.nodeId, member.promptness, returnsInMs));
  }
  return found;
}

function slowMember(
  nodeId: string,
  { tookMs, othersTookMs, hasStalled }: Promptness,
  returnsInMs: number | undefined,
): SlowMember {
  return { nodeId, tookMs, othersTookMs, returnsInMs, ...(hasStalled ? { hasHandedOver: true } : {}) };
}
