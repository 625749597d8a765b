import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogFullError, type RecordLog } from '../../../../base/record-log.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { carryOut, type Expected, mismatch, nextOf, readAll, type Step } from '../../../support/log-model.ts';

/**
 * Random lives of a log on a disk that forgets. Whatever happens, opening succeeds, every record that was
 * durable is there, and every record there is the one last appended under its number.
 */

interface Life {
  readonly steps: readonly Step[];
  /** The last step is abandoned after so many turns of the event queue. */
  readonly cutAfterTurns: number;
  readonly end: 'crash' | 'kill' | 'close';
  readonly roomBytes: number | undefined;
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      sizes: fc.array(fc.oneof(fc.nat(30), fc.integer({ min: 0, max: 3000 })), { maxLength: 5 }),
      atOnce: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ do: 'sync' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('truncate', 'trim'), at: fc.nat(100) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('reset' as const), to: fc.integer({ min: 1, max: 50 }) }),
  },
);

const life: fc.Arbitrary<Life> = fc.record({
  steps: fc.array(step, { maxLength: 12 }),
  cutAfterTurns: fc.nat(25),
  end: fc.constantFrom('crash', 'crash', 'crash', 'kill', 'close'),
  roomBytes: fc.option(fc.nat(6000), { nil: undefined }),
});

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

async function live(disk: FaultyDisk, log: RecordLog, life: Life, before: Expected): Promise<Expected[]> {
  let now = before;
  for (const [i, step] of life.steps.entries()) {
    const { done, after } = carryOut(log, step, now);
    if (i === life.steps.length - 1 && life.end !== 'close') {
      done.catch(() => {});
      await turns(life.cutAfterTurns);
      return [now, after];
    }
    try {
      await done;
      now = after;
    } catch (error) {
      expect(error).toBeInstanceOf(LogFullError);
      // With room again, it goes on as if the call had not been made.
      disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    }
    expect(log.nextIndex).toBe(nextOf(now));
    expect(log.durableNextIndex).toBeGreaterThanOrEqual(now.durableNext);
  }
  return [now];
}

async function run(seed: number, lives: readonly Life[]): Promise<void> {
  const disk = new FaultyDisk(new SeededRandom(seed));
  const options = { directory: '/log', segmentSizeBytes: 2048, logger: silentLogger };
  let possible: Expected[] = [{ trimmedBefore: 1, start: 1, payloads: [], durableNext: 1 }];
  for (const life of [...lives, undefined]) {
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    const { log } = await openSegmentedLog({
      ...options,
      fileSystem: disk.mount(),
      counters: new CounterSet(),
    });
    const found = await readAll(log);
    const problems = possible.map((expected) => mismatch(log, found, expected));
    const fitting = possible[problems.indexOf(undefined)];
    expect(fitting === undefined ? problems : []).toEqual([]);
    const now: Expected = {
      trimmedBefore: log.firstIndex,
      start: log.firstIndex,
      payloads: found,
      durableNext: log.nextIndex,
    };
    expect(log.durableNextIndex).toBe(log.nextIndex);
    if (life === undefined) return;
    if (life.roomBytes !== undefined) disk.capacityBytes = disk.usedBytes + life.roomBytes;
    possible = await live(disk, log, life, now);
    if (life.end === 'crash') disk.crash();
    else if (life.end === 'kill') disk.kill();
    else {
      await log.close();
      possible = possible.map((expected) => ({ ...expected, durableNext: nextOf(expected) }));
      if (life.steps.length % 2 === 0) disk.crash();
    }
  }
}

it('never loses a durable record nor returns a wrong one', async () => {
  const lives = fc.array(life, { minLength: 1, maxLength: 6 });
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0 }), lives, run), { numRuns: 400 });
}, 600_000);
