import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { type RandomSource, SeededRandom } from '../../../base/random.ts';
import { LogCorruptionError, LogFullError, type LogRecord } from '../../../base/record-log.ts';
import { openSegmentedLog, type SegmentedLog } from '../../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../../storage/log/spare-segments.ts';
import { FaultyDisk } from '../../support/faulty-disk.ts';
import { carryOut, type Expected, mismatch, nextOf, readAll, type Step } from '../../support/log-model.ts';

/** Some pages: the rest of the page behind the last record is never of a former life, unless power fails. */
const SEGMENT_BYTES = 12 * 1024;
const LIVES = 10;
const MAX_STEPS = 40;
const MAX_FEW_STEPS = 4;
/** Few sizes, so that the records of one life of a file often begin where those of another do. */
const SIZES = [0, 40, 496, 496, 496, 2032, 2032, 4080];
const MAX_TURNS = 40;
const MAX_SETTLING_TURNS = 2_000;
const DIRECTORY = '/log';

type End = 'power' | 'kill' | 'close' | 'rot';

interface Reader {
  readonly scan: AsyncGenerator<LogRecord>;
  readonly expected: Expected;
  nextIndex: number;
}

/** What one seed came to. */
export interface Outcome {
  readonly violation: string | undefined;
  readonly counters: CounterSet;
}

/**
 * Many lives of one log, nearly all of whose segments are written over former ones, on a disk that forgets, tears, fills
 * up and rots. Opening must find what was durable, nothing that was never appended and nothing of a former life, and
 * must see damage where there is some, and only there.
 */
export class LogLives {
  readonly #random: RandomSource;
  readonly #disk: FaultyDisk;
  readonly #counters = new CounterSet();
  /** Going through the log while it goes on: each has to find what there was when it began. */
  #readers: { readonly scan: AsyncIterator<LogRecord>; readonly expected: Expected; nextIndex: number }[] =
    [];
  /** What may be found at the next opening. */
  #possible: readonly Expected[] = [{ trimmedBefore: 1, start: 1, payloads: [], durableNext: 1 }];
  #serial = 0;
  #spares = new SpareSegments(new SeededRandom(0));

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#disk = new FaultyDisk(new SeededRandom(seed + 1));
  }

  async run(): Promise<Outcome> {
    const counters = this.#counters;
    try {
      for (let life = 0; life < LIVES; life++) await this.#live();
      return { violation: undefined, counters };
    } catch (error) {
      return { violation: error instanceof Error ? error.message : String(error), counters };
    }
  }

  async #live(): Promise<void> {
    const disk = this.#disk;
    disk.capacityBytes = Number.MAX_SAFE_INTEGER;
    disk.mayWriteNow = this.#random.below(4) > 0;
    const log = await this.#open();
    let now = await this.#found(log);
    if (this.#random.below(4) === 0)
      disk.capacityBytes = disk.usedBytes + this.#random.below(SEGMENT_BYTES * 2);
    const end = this.#pick<End>(['power', 'power', 'power', 'kill', 'close', 'rot']);
    // What is left of a former life shows itself mostly where little has been written over it.
    const steps = this.#random.below(this.#random.below(3) === 0 ? MAX_FEW_STEPS : MAX_STEPS);
    for (let i = 0; i < steps; i++) {
      if (this.#random.below(4) === 0) await this.#read(log, now);
      now = await this.#do(log, this.#step(now), now);
    }
    for (const { scan } of this.#readers.splice(0)) await scan.return?.(undefined);
    this.#possible = [now];
    if (end === 'power' || end === 'kill') {
      const { done, after } = carryOut(log, this.#step(now), now, this.#payload);
      done.catch(() => {});
      for (let turns = this.#random.below(MAX_TURNS); turns > 0; turns--) await Promise.resolve();
      this.#possible = [now, after];
      if (end === 'power') disk.crash();
      else disk.kill();
      return;
    }
    await log.close();
    this.#possible = [{ ...now, durableNext: nextOf(now) }];
    if (this.#spareBytes() > 0) throw new Error('a log that was closed has left what it kept');
    if (end === 'rot') await this.#rot();
  }

  /** Begins to read, or reads on a little. */
  async #read(log: SegmentedLog, now: Expected): Promise<void> {
    const isNew = this.#readers.length === 0 || this.#random.below(4) === 0;
    // What it is to find counts from its first step on.
    if (isNew)
      this.#readers.unshift({ scan: log.scan(log.firstIndex), expected: now, nextIndex: log.firstIndex });
    const reader = this.#readers[0] as Reader;
    for (let left = isNew ? 1 : this.#random.below(12); left > 0; left--) {
      const next = await reader.scan.next();
      if (next.done === true) {
        this.#readers.shift();
        return;
      }
      const { index, payload } = next.value;
      const { expected } = reader;
      const isRight = Buffer.from(payload).toString() === expected.payloads[index - expected.start];
      if (index !== reader.nextIndex++ || !isRight)
        throw new Error(`a reader found something else as ${index}`);
    }
  }

  async #open(): Promise<SegmentedLog> {
    const limitBytes = SEGMENT_BYTES * (1 + this.#random.below(4));
    this.#spares = new SpareSegments(this.#random, limitBytes);
    const { log } = await openSegmentedLog({
      directory: DIRECTORY,
      fileSystem: this.#disk.mount(),
      segmentSizeBytes: SEGMENT_BYTES,
      spares: this.#spares,
      logger: silentLogger,
      counters: this.#counters,
    });
    await this.#checkSpares();
    return log;
  }

  /** What is kept is counted, and there is nothing else that counts for nothing. */
  async #checkSpares(): Promise<void> {
    // Removal goes on behind the calls.
    for (let turn = 0; turn < MAX_SETTLING_TURNS; turn++) {
      const { keptBytes, limitBytes } = this.#spares;
      if (keptBytes === this.#spareBytes() && keptBytes <= limitBytes) return;
      await Promise.resolve();
    }
    const { keptBytes, limitBytes } = this.#spares;
    throw new Error(`${this.#spareBytes()} bytes are kept, ${keptBytes} counted, ${limitBytes} allowed`);
  }

  #spareBytes(): number {
    const names = this.#disk.list(DIRECTORY).filter((name) => name.endsWith('.tmp'));
    return names.reduce((sum, name) => sum + this.#disk.contents(`${DIRECTORY}/${name}`).length, 0);
  }

  /** Compares what an opened log holds with what it may. */
  async #found(log: SegmentedLog): Promise<Expected> {
    const payloads = await readAll(log);
    const problems = this.#possible.map((expected) => mismatch(log, payloads, expected));
    if (!problems.includes(undefined)) throw new Error(problems.join('; '));
    const start = log.firstIndex;
    return { trimmedBefore: start, start, payloads, durableNext: log.nextIndex };
  }

  async #do(log: SegmentedLog, step: Step, now: Expected): Promise<Expected> {
    const { done, after } = carryOut(log, step, now, this.#payload);
    try {
      await done;
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      this.#counters.add('seen.full');
      this.#disk.capacityBytes = Number.MAX_SAFE_INTEGER;
      return now;
    }
    if (log.nextIndex !== nextOf(after)) throw new Error(`the log ends at ${log.nextIndex}`);
    if (step.do === 'trim') await this.#checkSpares();
    return after;
  }

  #step(now: Expected): Step {
    const choice = this.#random.below(20);
    const kept = now.payloads.length;
    if (choice < 11) {
      const sizes = Array.from({ length: 1 + this.#random.below(4) }, () => this.#pick(SIZES));
      return { do: 'append', sizes, atOnce: this.#random.below(2) === 0 };
    }
    if (choice < 14) return { do: 'sync' };
    if (choice < 18) return { do: 'trim', at: Math.max(0, kept - this.#random.below(6)) };
    if (choice < 19) return { do: 'truncate', at: kept - this.#random.below(Math.min(kept, 6) + 1) };
    return { do: 'reset', to: 1 + this.#random.below(50) };
  }

  /** Names itself, so that one record is never taken for another. */
  readonly #payload = (sizeBytes: number): string =>
    sizeBytes === 0 ? '' : `${this.#serial++}:`.padEnd(sizeBytes, 'x');

  /** Turns a bit over in a segment of a closed log: that is seen, or does no harm. It is put back where it was seen. */
  async #rot(): Promise<void> {
    const disk = this.#disk;
    const name = this.#pick(disk.list(DIRECTORY).filter((entry) => entry.endsWith('.segment')));
    const path = `${DIRECTORY}/${name}`;
    const at = this.#random.below(disk.contents(path).length);
    disk.corrupt(path, at);
    try {
      const log = await this.#open();
      await this.#found(log);
      await log.close();
      this.#counters.add('seen.harmless-rot');
    } catch (error) {
      if (!(error instanceof LogCorruptionError)) throw error;
      this.#counters.add('seen.damage');
      disk.kill();
      disk.corrupt(path, at);
    }
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)] as T;
  }
}
