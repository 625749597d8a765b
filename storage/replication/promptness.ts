import {
  PACE_FACTOR,
  PACE_FORGIVEN_MS,
  PACE_MEMORY_MS,
  PACE_RETURN_MAX_MS,
  PACE_RETURN_MIN_MS,
  PACE_SLOW_FOR_MS,
  PACE_SLOW_MOST_MS,
  TICK_MS,
} from './limits.ts';

/** One thing that is asked of all members alike, to write something down or to make it durable, and how one does with it. */
export interface Task {
  /** Since when the oldest that is still owed has been asked for; undefined: nothing is owed. */
  owedSinceMs: number | undefined;
  /** How long that took which was done last. */
  doneInMs: number;
  /** Nothing was asked for or owed since the last look. */
  isIdle: boolean;
}

/** How promptly one of a group does what writes wait for. */
export interface Promptness {
  readonly write: Task;
  readonly sync: Task;
  /** How much longer it has been slow than not, of the time in which anything was asked of it. */
  slowMs: number;
  /** When something was last asked of it. */
  askedMs: number;
  /** How long it took when it was last found slow, and how long the others took then. */
  tookMs: number;
  othersTookMs: number;
  /** How long it was to stay out of the set when it was last put out for being slow; 0: it is not known to be slow. */
  backOffMs: number;
  /** When that is over. */
  returnMs: number;
  /** It led, and is out of the set because its disk took nothing. */
  hasStalled: boolean;
  /** Since when it has been in the set. */
  inSyncSinceMs: number;
}

const newTask = (): Task => ({ owedSinceMs: undefined, doneInMs: 0, isIdle: true });

export function newPromptness(nowMs: number): Promptness {
  const seen = { slowMs: 0, askedMs: nowMs, tookMs: 0, othersTookMs: 0 };
  return {
    write: newTask(),
    sync: newTask(),
    ...seen,
    backOffMs: 0,
    returnMs: nowMs,
    hasStalled: false,
    inSyncSinceMs: nowMs,
  };
}

/** What was seen so far says nothing of the time to come. */
export function forgetPromptness(promptness: Promptness): void {
  Object.assign(promptness.write, newTask());
  Object.assign(promptness.sync, newTask());
  promptness.slowMs = 0;
}

/**
 * At each look.
 * @param owedSinceMs since when the oldest has been owed that is owed now
 * @param isMoreAsked more was asked for since the last look
 */
export function follow(
  task: Task,
  owedSinceMs: number | undefined,
  isMoreAsked: boolean,
  nowMs: number,
): void {
  const before = task.owedSinceMs;
  task.isIdle = before === undefined && owedSinceMs === undefined && !isMoreAsked;
  if (before !== undefined && before !== owedSinceMs) task.doneInMs = nowMs - before;
  else if (owedSinceMs === undefined && isMoreAsked) task.doneInMs = 0;
  task.owedSinceMs = owedSinceMs;
}

/** How long it takes for what is asked of it: what it did last, or what it still owes where that is older by now. */
export function takesMs({ owedSinceMs, doneInMs }: Task, nowMs: number): number {
  return Math.max(doneInMs, nowMs - (owedSinceMs ?? nowMs));
}

/**
 * How long others take: most of them, where there are more than two. So nobody is slow where they are as slow, as over a link
 * of the primary's that is full, and one that shares the fate of a few is.
 */
export function othersTakeMs(allMs: readonly number[]): number {
  const sorted = [...allMs].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.POSITIVE_INFINITY;
}

/** Slow by itself, and beside the others. */
export function isSlowBeside(tookMs: number, othersTookMs: number, boundMs: number): boolean {
  return tookMs >= boundMs && tookMs >= PACE_FACTOR * Math.max(TICK_MS, othersTookMs);
}

/** What came of one look. @param elapsedMs since the one before */
export function weigh(
  promptness: Promptness,
  look: 'idle' | 'slow' | 'prompt',
  elapsedMs: number,
  nowMs: number,
): void {
  if (look === 'idle') {
    if (nowMs - promptness.askedMs >= PACE_MEMORY_MS) promptness.slowMs = 0;
    return;
  }
  promptness.askedMs = nowMs;
  const slowMs = promptness.slowMs + (look === 'slow' ? elapsedMs : -elapsedMs);
  promptness.slowMs = Math.min(PACE_SLOW_MOST_MS, Math.max(0, slowMs));
}

export function isSlow({ slowMs }: Promptness): boolean {
  return slowMs >= PACE_SLOW_FOR_MS;
}

/** It has been put out for being slow: the more often, the longer it stays out. */
export function putOff(promptness: Promptness, nowMs: number): void {
  const wanted = promptness.backOffMs * 2;
  promptness.backOffMs = Math.min(PACE_RETURN_MAX_MS, Math.max(PACE_RETURN_MIN_MS, wanted));
  promptness.returnMs = nowMs + promptness.backOffMs;
}

/** It is in the set. */
export function maybeForgive(promptness: Promptness, nowMs: number): void {
  if (nowMs - promptness.inSyncSinceMs >= PACE_FORGIVEN_MS) promptness.backOffMs = 0;
}
