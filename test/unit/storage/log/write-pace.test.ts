import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import {
  AT_ONCE_PAUSE_MS,
  MAX_AT_ONCE_BYTES,
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

  it('not for a while after one that was held up', () => {
    const quickMs = clock.monotonicMs();
    clock.advance(SLOW_AT_ONCE_WRITE_MS);
    pace.wroteAtOnce(quickMs);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
    const sinceMs = clock.monotonicMs();
    clock.advance(SLOW_AT_ONCE_WRITE_MS + 1);
    pace.wroteAtOnce(sinceMs);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    clock.advance(AT_ONCE_PAUSE_MS - 1);
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    clock.advance(1);
    expect(pace.mayWriteAtOnce(1)).toBe(true);
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
    // The last to end was slow: the next write waits for a quick one.
    expect(pace.mayWriteAtOnce(1)).toBe(false);
    pace.syncBegins()();
    expect(pace.mayWriteAtOnce(1)).toBe(true);
  });
});
