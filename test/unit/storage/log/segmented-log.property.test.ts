import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { crc32c } from '../../../../base/crc32c.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import { LogFullError, type RecordLog } from '../../../../base/record-log.ts';
import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';

/**
 * Random lives of a log on a disk that forgets. Whatever happens, opening succeeds, every record that was
 * durable is there, and every record there is the one last appended under its number.
 */

interface Expected {
  /** Records before this one may have been trimmed. */
  readonly trimmedBefore: number;
  /** Number of the first of `payloads`. */
  readonly start: number;
  readonly payloads: readonly string[];
  readonly durableNext: number;
}

type Step =
  | { readonly do: 'append'; readonly sizes: readonly number[]; readonly atOnce: boolean }
  | { readonly do: 'sync' }
  | { readonly do: 'truncate' | 'trim'; readonly at: number }
  | { readonly do: 'reset'; readonly to: number };

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

function nextOf(expected: Expected): number {
  return expected.start + expected.payloads.length;
}

let serial = 0;

function payload(size: number): string {
  return `${serial++}:`.padEnd(size, 'x').slice(0, Math.max(size, 0));
}

/** Makes the call, and says what is to be expected once it has succeeded. */
function carryOut(log: RecordLog, step: Step, now: Expected): { done: Promise<unknown>; after: Expected } {
  switch (step.do) {
    case 'append': {
      const payloads = step.sizes.map(payload);
      const records = payloads.map((p) => Buffer.from(p));
      const checksums = records.map((record, i) => (i % 2 === 0 ? crc32c(record) : undefined));
      const appended = step.atOnce ? log.appendNow?.(records, checksums) : undefined;
      const done = appended === undefined ? log.append(records, checksums) : Promise.resolve(appended);
      return { done, after: { ...now, payloads: [...now.payloads, ...payloads] } };
    }
    case 'sync':
      return { done: log.sync(), after: { ...now, durableNext: nextOf(now) } };
    case 'truncate': {
      const at = log.firstIndex + (step.at % (nextOf(now) - log.firstIndex + 1));
      const isNothing = at === nextOf(now);
      const payloads = now.payloads.slice(0, at - now.start);
      const after = isNothing ? now : { ...now, payloads, durableNext: at };
      return { done: log.truncateFrom(at), after };
    }
    case 'trim': {
      const at = now.start + (step.at % (now.payloads.length + 1));
      const after = { ...now, trimmedBefore: Math.max(at, now.trimmedBefore) };
      return { done: log.trimBefore(at), after };
    }
    case 'reset': {
      const after = { trimmedBefore: step.to, start: step.to, payloads: [], durableNext: step.to };
      return { done: log.resetTo(step.to), after };
    }
  }
}

async function readAll(log: RecordLog): Promise<string[]> {
  const found: string[] = [];
  for await (const { index, payload, position } of log.scan(log.firstIndex)) {
    expect(index).toBe(log.firstIndex + found.length);
    expect(Buffer.compare(await log.read(index), payload)).toBe(0);
    expect(Buffer.compare(await log.readAt(position, payload.length), payload)).toBe(0);
    const atOnce = new Uint8Array(payload.length);
    if (log.readAtNow?.(position, atOnce) === true) expect(Buffer.compare(atOnce, payload)).toBe(0);
    found.push(Buffer.from(payload).toString());
  }
  return found;
}

/** @returns what was wrong, or undefined when the log is what `expected` allows after a crash */
function mismatch(log: RecordLog, found: readonly string[], expected: Expected): string | undefined {
  if (log.firstIndex < expected.start || log.firstIndex > expected.trimmedBefore) {
    if (log.firstIndex !== expected.start) return `first index ${log.firstIndex}`;
  }
  if (log.nextIndex < expected.durableNext) return `${log.nextIndex} < durable ${expected.durableNext}`;
  if (log.nextIndex > nextOf(expected)) return `${log.nextIndex} > written ${nextOf(expected)}`;
  for (const [i, value] of found.entries()) {
    const index = log.firstIndex + i;
    if (value !== expected.payloads[index - expected.start])
      return `record ${index} is ${value.slice(0, 20)}`;
  }
  return undefined;
}

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
}, 60_000);
