import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../base/clock.ts';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SCRUB_EVERY_MS, SCRUB_FIRST_MS } from '../../../../storage/scrub/limits.ts';
import { decodeScrubState, NEVER_SCRUBBED } from '../../../../storage/scrub/scrub-state.ts';
import { type ScrubArea, Scrubber } from '../../../../storage/scrub/scrubber.ts';

const MIB = 1024 * 1024;
const SECOND = 1000;

/** So many parts of 1 MiB, and which of them were read, in order. */
class Parts implements ScrubArea {
  readonly name: string;
  readonly count: number;
  readonly read: number[] = [];
  isBroken = false;

  constructor(name: string, count: number) {
    this.name = name;
    this.count = count;
  }

  get totalBytes(): number {
    return this.count * MIB;
  }

  fractionAt(cursor: number): number {
    return cursor / this.count;
  }

  readPart(cursor: number): Promise<{ next: number | undefined; readBytes: number }> {
    if (this.isBroken) return Promise.reject(new Error('it is broken'));
    this.read.push(cursor);
    return Promise.resolve({ next: cursor + 1 < this.count ? cursor + 1 : undefined, readBytes: MIB });
  }
}

class Bench {
  readonly clock = new ManualClock(1_000_000);
  areas: Parts[];
  saved: string | undefined;
  damage = { found: 0, mended: 0 };
  activity = 0;
  /** Clients are at work all the time. */
  isBusy = false;
  /** By so much somebody has set the clock on the wall. */
  setForwardMs = 500_000_000_000;
  readers = 1;
  scrubber!: Scrubber;

  constructor(...areas: Parts[]) {
    this.areas = areas;
  }

  async start(): Promise<void> {
    this.scrubber = new Scrubber({
      areas: () => this.areas,
      store: {
        load: () => Promise.resolve(this.saved),
        save: (text) => {
          this.saved = text;
          return Promise.resolve();
        },
      },
      damage: () => this.damage,
      readers: this.readers,
      activity: () => (this.isBusy ? ++this.activity : this.activity),
      clock: {
        monotonicMs: () => this.clock.monotonicMs(),
        wallMs: () => this.clock.wallMs() + this.setForwardMs,
      },
      timers: this.clock,
      logger: silentLogger,
      counters: new CounterSet(),
    });
    await this.scrubber.start();
  }

  async pass(ms: number, stepMs = 20): Promise<void> {
    for (let at = 0; at < ms; at += stepMs) {
      this.clock.advance(stepMs);
      for (let i = 0; i < 20; i++) await Promise.resolve();
    }
  }
}

describe('reading everything through', () => {
  it('begins some time after the first start, goes through everything once, and again when it is time', async () => {
    const bench = new Bench(new Parts('a', 3), new Parts('b', 2));
    await bench.start();
    expect(bench.scrubber.status()).toMatchObject({ startedAtMs: undefined, lastCompletedAtMs: undefined });
    await bench.pass(SCRUB_FIRST_MS - SECOND, SECOND);
    expect(bench.areas[0]?.read).toEqual([]);
    await bench.pass(120 * SECOND, 100);
    expect(bench.areas.map((area) => area.read)).toEqual([
      [0, 1, 2],
      [0, 1],
    ]);
    const { lastCompletedAtMs, startedAtMs } = bench.scrubber.status();
    expect(startedAtMs).toBeUndefined();
    expect(lastCompletedAtMs).toBeGreaterThan(SCRUB_FIRST_MS);
    await bench.pass(SCRUB_EVERY_MS - 600 * SECOND, 60 * SECOND);
    expect(bench.areas[1]?.read).toEqual([0, 1]);
    await bench.pass(1200 * SECOND, 100 * SECOND);
    expect(bench.areas[1]?.read).toEqual([0, 1, 0, 1]);
  });

  it('begins at once when it is told to, and goes on where it was after a restart', async () => {
    const bench = new Bench(new Parts('a', 4), new Parts('b', 1000));
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(3 * SECOND);
    const status = bench.scrubber.status();
    expect(status.startedAtMs).toBeDefined();
    expect(status.totalBytes).toBe(1004 * MIB);
    expect(status.doneBytes).toBeGreaterThan(4 * MIB);
    expect(status.doneBytes).toBeLessThan(200 * MIB);
    bench.damage = { found: 3, mended: 2 };
    await bench.scrubber.stop();
    const before = bench.areas[1]?.read.length ?? 0;
    bench.damage = { found: 1, mended: 1 };
    await bench.start();
    await bench.pass(SECOND);
    expect(bench.areas[0]?.read).toEqual([0, 1, 2, 3]);
    expect(bench.areas[1]?.read[before]).toBe(before);
    expect(bench.scrubber.status()).toMatchObject({ startedAtMs: status.startedAtMs, found: 4, mended: 3 });
  });

  it('reads no faster than it may, and much slower while clients are at work', async () => {
    const bench = new Bench(new Parts('a', 100_000));
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(10 * SECOND);
    const idle = bench.areas[0]?.read.length ?? 0;
    expect(idle).toBeGreaterThan(100);
    expect(idle).toBeLessThanOrEqual(10 * 32 + 1);
    bench.isBusy = true;
    await bench.pass(10 * SECOND);
    const busy = (bench.areas[0]?.read.length ?? 0) - idle;
    expect(busy).toBeGreaterThan(10);
    expect(busy).toBeLessThanOrEqual(10 * 4 + 2);
  });

  it('is a part of that where others read what is on the same disk', async () => {
    const bench = new Bench(new Parts('a', 4096));
    bench.readers = 4;
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(10 * SECOND);
    const read = bench.areas[0]?.read.length ?? 0;
    expect(read).toBeGreaterThan(40);
    expect(read).toBeLessThanOrEqual((10 * 32) / 4 + 1);
  });

  it('goes past what cannot be read, and takes what it has noted for nothing where that is damaged', async () => {
    const bench = new Bench(new Parts('a', 2), new Parts('b', 2));
    (bench.areas[0] as Parts).isBroken = true;
    bench.saved = '{"startedAtMs": 5, "done": ["b"';
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(2 * SECOND);
    expect(bench.areas[1]?.read).toEqual([0, 1]);
    expect(bench.scrubber.status().lastCompletedAtMs).toBeDefined();
  });

  it('goes on at its former pace once clients are at work no more', async () => {
    const bench = new Bench(new Parts('a', 100_000));
    await bench.start();
    bench.scrubber.startNow();
    bench.isBusy = true;
    await bench.pass(10 * SECOND);
    const busy = bench.areas[0]?.read.length ?? 0;
    bench.isBusy = false;
    await bench.pass(10 * SECOND);
    expect((bench.areas[0]?.read.length ?? 0) - busy).toBeGreaterThan(4 * busy);
  });

  it('is not put off by a clock that was set back, nor begun anew by what it was when it was completed', async () => {
    const bench = new Bench(new Parts('a', 2));
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(2 * SECOND);
    expect(bench.areas[0]?.read).toEqual([0, 1]);
    await bench.pass(600 * SECOND, 60 * SECOND);
    expect(bench.areas[0]?.read).toEqual([0, 1]);
    bench.setForwardMs -= 365 * 24 * 3_600_000;
    await bench.pass(600 * SECOND, 60 * SECOND);
    expect(bench.areas[0]?.read).toEqual([0, 1, 0, 1]);
  });

  it('goes on where it is though others come before it, and begins each at its beginning', async () => {
    const [one, other, third] = [new Parts('a', 1000), new Parts('b', 1000), new Parts('c', 1000)];
    const bench = new Bench(one, other);
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(2 * SECOND);
    const reached = one.read.length;
    expect(reached).toBeGreaterThan(10);
    bench.areas = [third, one, other];
    await bench.pass(2 * SECOND);
    expect(one.read.slice(reached, reached + 3)).toEqual([reached, reached + 1, reached + 2]);
    expect(third.read).toEqual([]);
    // What it is in is there no more.
    bench.areas = [other];
    await bench.pass(2 * SECOND);
    expect(other.read.slice(0, 2)).toEqual([0, 1]);
  });

  it('remembers that it is complete, though its process ends by itself right after', async () => {
    const bench = new Bench(new Parts('a', 2));
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(2 * SECOND);
    const { lastCompletedAtMs } = bench.scrubber.status();
    expect(lastCompletedAtMs).toBeDefined();
    await bench.start();
    expect(bench.scrubber.status()).toMatchObject({ lastCompletedAtMs, startedAtMs: undefined });
  });

  it('reads nothing more once it has been stopped, and is stopped only once it reads nothing', async () => {
    const area = new Parts('a', 1000);
    const bench = new Bench(area);
    await bench.start();
    bench.scrubber.startNow();
    await bench.pass(SECOND);
    let end: () => void = () => {};
    const readPart = area.readPart.bind(area);
    area.readPart = async (cursor) => {
      await new Promise<void>((resolve) => {
        end = resolve;
      });
      return readPart(cursor);
    };
    await bench.pass(SECOND);
    let isStopped = false;
    const stopping = bench.scrubber.stop().then(() => {
      isStopped = true;
    });
    await bench.pass(SECOND);
    expect(isStopped).toBe(false);
    end();
    await stopping;
    const { length } = area.read;
    await bench.pass(10 * SECOND);
    end();
    await bench.pass(SECOND);
    expect(area.read).toHaveLength(length);
  });

  it('takes no number below zero for one', () => {
    expect(
      decodeScrubState('{"startedAtMs": -1, "cursor": -5, "found": -2, "lastCompletedAtMs": 7}'),
    ).toEqual({
      ...NEVER_SCRUBBED,
      lastCompletedAtMs: 7,
    });
  });
});
