import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import {
  AFTER_SLOW_SYNC_MS,
  AT_ONCE_PAUSE_MS,
  HELD_UP_LEAK,
  MAX_AT_ONCE_BYTES,
  MAX_HELD_UP_MS,
  SLOW_AT_ONCE_WRITE_MS,
  SLOW_DATA_SYNC_MS,
} from '../../../../storage/log/limits.ts';
import { WritePace } from '../../../../storage/log/write-pace.ts';

let clock: ManualClock;
let pace: WritePace;

beforeEach(() => {
  clock = new ManualClock(1000);
  pace = new WritePace(clock);
});

describe('a write is carried out at once', () => {
  it('while it is small', () => {
    expect(pace.mayWriteAtOnce(MAX_AT_ONCE_BYTES)).toBe(true);
    expect(pace.mayWriteAtOnce(MAX_AT_ONCE_BYTES + 1)).toBe(false);
  });

  function heldUp(forMs: number): void {
    const sinceMs = clock.monotonicMs();
    clock.advance(forMs);
    pace.wroteAtOnce(sinceMs);
  }

  it('not for a while after one that was held up for long', () => {
    heldUp(MAX_HELD_UP_MS - 1);
    clock.advance(MAX_HELD_UP_MS / HELD_UP_LEAK);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
    heldUp(MAX_HELD_UP_MS);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    clock.advance(AT_ONCE_PAUSE_MS - 1);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    clock.advance(1);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
  });

  it('while only some are held up, and not once many are', () => {
    const eachMs = MAX_HELD_UP_MS / 5;
    for (let i = 0; i < 20; i++) {
      heldUp(eachMs);
      clock.advance(eachMs / HELD_UP_LEAK);
      expect(pace.mayWriteAtOnce(1)).toBe(true);
    }
    for (let i = 0; i < 1000; i++) heldUp(SLOW_AT_ONCE_WRITE_MS);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
    for (let i = 0; i < 5; i++) heldUp(eachMs);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
  });

  it('not while a sync takes long, whatever others do', () => {
    const slowEnds = pace.syncBegins();
    clock.advance(SLOW_DATA_SYNC_MS);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
    clock.advance(1);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    pace.syncBegins()();
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    slowEnds();
    // The last to end was slow: the next write waits a little, or for a quick one.
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    pace.syncBegins()();
    expect(pace.mayWriteAtOnce(1)).toBe(true);
    const slowAgain = pace.syncBegins();
    clock.advance(SLOW_DATA_SYNC_MS + 1);
    slowAgain();
    clock.advance(AFTER_SLOW_SYNC_MS - 1);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    clock.advance(1);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
  });
});
