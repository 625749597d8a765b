import { describe, expect, it } from 'vitest';
import {
  PACE_FACTOR,
  PACE_FORGIVEN_MS,
  PACE_MEMORY_MS,
  PACE_RETURN_MAX_MS,
  PACE_RETURN_MIN_MS,
  PACE_SLOW_FOR_MS,
  PACE_SLOW_MOST_MS,
  PACE_SLOW_MS,
  TICK_MS,
} from '../../../../storage/replication/limits.ts';
import {
  follow,
  isSlow,
  isSlowBeside,
  maybeForgive,
  newPromptness,
  othersTakeMs,
  putOff,
  takesMs,
  weigh,
} from '../../../../storage/replication/promptness.ts';

describe('how long one takes', () => {
  it('is the age of what it owes, or what its last answer took where that is more', () => {
    const { write } = newPromptness(0);
    follow(write, 1_000, true, 1_000);
    expect(takesMs(write, 1_050)).toBe(50);
    follow(write, 1_000, false, 1_300);
    expect(takesMs(write, 1_300)).toBe(300);
    // Answered, and the next is asked for at once: one write at a time is seen to take 300 ms, not 150 on average.
    follow(write, 1_350, true, 1_350);
    expect(takesMs(write, 1_350)).toBe(350);
    follow(write, 1_350, false, 1_800);
    expect(takesMs(write, 1_800)).toBe(450);
  });

  it('is nothing to speak of where all is answered between two looks', () => {
    const { write } = newPromptness(0);
    follow(write, 1_000, true, 1_000);
    follow(write, undefined, true, 1_400);
    expect(takesMs(write, 1_400)).toBe(400);
    follow(write, undefined, true, 1_450);
    expect(takesMs(write, 1_450)).toBe(0);
    expect(write.isIdle).toBe(false);
  });

  it('stays known while nothing is asked for', () => {
    const { write } = newPromptness(0);
    follow(write, 1_000, true, 1_000);
    follow(write, undefined, false, 1_300);
    expect(write.isIdle).toBe(false);
    follow(write, undefined, false, 1_350);
    expect(write.isIdle).toBe(true);
    expect(takesMs(write, 1_350)).toBe(300);
  });
});

describe('who is slow', () => {
  it('is slow by itself and beside the others', () => {
    expect(isSlowBeside(PACE_SLOW_MS, 0, PACE_SLOW_MS)).toBe(true);
    expect(isSlowBeside(PACE_SLOW_MS - 1, 0, PACE_SLOW_MS)).toBe(false);
    expect(isSlowBeside(2_000, 2_000 / PACE_FACTOR, PACE_SLOW_MS)).toBe(true);
    expect(isSlowBeside(2_000, 2_000 / PACE_FACTOR + 1, PACE_SLOW_MS)).toBe(false);
    // What others do within a tick counts as a tick.
    expect(isSlowBeside(PACE_FACTOR * TICK_MS - 1, 1, 1)).toBe(false);
  });

  it('is compared with most of the others: with the slower of two', () => {
    expect(othersTakeMs([7])).toBe(7);
    expect(othersTakeMs([0, 500])).toBe(500);
    expect(othersTakeMs([0, 500, 10])).toBe(10);
    expect(othersTakeMs([0, 500, 400, 10])).toBe(400);
    expect(isSlowBeside(1e9, othersTakeMs([]), PACE_SLOW_MS)).toBe(false);
  });

  it('has been slow for long, and more often than not', () => {
    const promptness = newPromptness(0);
    let nowMs = 0;
    const look = (what: 'slow' | 'prompt' | 'idle', forMs: number): void => {
      for (let ms = 0; ms < forMs; ms += TICK_MS) weigh(promptness, what, TICK_MS, (nowMs += TICK_MS));
    };
    look('slow', PACE_SLOW_FOR_MS - TICK_MS);
    expect(isSlow(promptness)).toBe(false);
    look('idle', PACE_MEMORY_MS - TICK_MS);
    look('slow', TICK_MS);
    expect(isSlow(promptness)).toBe(true);
    // No more is held against it than is soon made up for.
    look('slow', 60_000);
    look('prompt', PACE_SLOW_MOST_MS - PACE_SLOW_FOR_MS);
    expect(isSlow(promptness)).toBe(true);
    look('prompt', TICK_MS);
    expect(isSlow(promptness)).toBe(false);
    look('idle', PACE_MEMORY_MS);
    look('slow', PACE_SLOW_FOR_MS - TICK_MS);
    expect(isSlow(promptness)).toBe(false);
    // Half of the time is not enough, however long that goes on.
    for (let i = 0; i < 100; i++) {
      look('prompt', 1_000);
      look('slow', 1_000);
      expect(isSlow(promptness)).toBe(false);
    }
  });

  it('stays out for longer each time, within bounds, until it has been in for long', () => {
    const promptness = newPromptness(0);
    const waits = Array.from({ length: 9 }, (_, i) => {
      putOff(promptness, i * 1_000_000);
      return promptness.returnMs - i * 1_000_000;
    });
    const doubled = [1, 2, 4, 8, 16, 32].map((times) => times * PACE_RETURN_MIN_MS);
    expect(waits).toEqual([...doubled, ...Array<number>(3).fill(PACE_RETURN_MAX_MS)]);
    promptness.inSyncSinceMs = 9_000_000;
    maybeForgive(promptness, 9_000_000 + PACE_FORGIVEN_MS - 1);
    putOff(promptness, 0);
    expect(promptness.returnMs).toBe(PACE_RETURN_MAX_MS);
    maybeForgive(promptness, 9_000_000 + PACE_FORGIVEN_MS);
    putOff(promptness, 0);
    expect(promptness.returnMs).toBe(PACE_RETURN_MIN_MS);
  });
});
