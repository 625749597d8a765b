import { afterEach, describe, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import { silentLogger } from '../../../../base/logger.ts';
import { SeededRandom } from '../../../../base/random.ts';
import type { MendableLog } from '../../../../base/record-log.ts';
import type { FileSystem, OpenFile } from '../../../../storage/log/file-system.ts';

import { openSegmentedLog } from '../../../../storage/log/segmented-log.ts';
import { MAX_APPEND_BYTES, READING_KEPT_MS } from '../../../../storage/replication/limits.ts';
import { LogReadings, type LogReadingsPorts } from '../../../../storage/replication/log-readings.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';

const KIB = 1024;
const SEGMENT_BYTES = 8 * 1024 * KIB;
const TO = { nodeId: 'b', incarnation: 'b1' };

/** A file system that counts what is read of its files. */
function counted(inner: FileSystem): { fileSystem: FileSystem; read: { bytes: number } } {
  const read = { bytes: 0 };
  const watch = (file: OpenFile): OpenFile => {
    const readFile = file.read.bind(file);
    return Object.assign(file, {
      read: async (into: Uint8Array, offset: number) => {
        const lengthBytes = await readFile(into, offset);
        read.bytes += lengthBytes;
        return lengthBytes;
      },
    });
  };
  const create = inner.create.bind(inner);
  const open = inner.open.bind(inner);
  const fileSystem = Object.assign(inner, {
    create: async (path: string) => watch(await create(path)),
    open: async (path: string) => watch(await open(path)),
  });
  return { fileSystem, read };
}

class Bench {
  readonly core = { log: { cut: 0 } };
  readonly read: { bytes: number };
  readonly #fileSystem: FileSystem;
  log!: MendableLog;
  readings!: LogReadings;
  nowMs = 0;
  scans = 0;

  constructor() {
    const { fileSystem, read } = counted(new FaultyDisk(new SeededRandom(1)).mount());
    this.#fileSystem = fileSystem;
    this.read = read;
  }

  async open(): Promise<void> {
    const at = { directory: '/log', fileSystem: this.#fileSystem, segmentSizeBytes: SEGMENT_BYTES };
    this.log = (await openSegmentedLog({ ...at, logger: silentLogger, counters: new CounterSet() })).log;
    const ports = {
      core: this.core,
      counters: new CounterSet(),
      scan: (fromIndex: number) => {
        this.scans++;
        return this.log.scan(fromIndex);
      },
    };
    // Nothing is left out below, so that no table of LUNs is asked.
    this.readings = new LogReadings(ports as unknown as LogReadingsPorts);
  }

  async append(sizes: readonly number[]): Promise<void> {
    const records = sizes.map((size, i) => new Uint8Array(size).fill(i % 251));
    for (let i = 0; i < records.length; i += 10) await this.log.append(records.slice(i, i + 10));
  }

  next(fromIndex: number, to = TO): Promise<Uint8Array[]> {
    const stream = { kind: 'stream', to, fromIndex, maxBytes: MAX_APPEND_BYTES, elideBelow: 0 } as const;
    return this.readings.next(stream, () => this.nowMs);
  }

  /** All from `fromIndex` on, message by message. */
  async all(fromIndex: number): Promise<{ records: Uint8Array[]; messages: number }> {
    const records: Uint8Array[] = [];
    let messages = 0;
    for (let next = fromIndex; next < this.log.nextIndex; messages++) {
      const some = await this.next(next);
      expect(some.length).toBeGreaterThan(0);
      records.push(...some);
      next += some.length;
    }
    return { records, messages };
  }
}

let bench: Bench;
afterEach(() => bench.log.close());

const payloadBytes = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + size, 0);

describe('what is read of the log for a member that catches up', () => {
  it.each([
    ['of which three and a part fit a message', Array.from({ length: 120 }, () => 256 * KIB + 100)],
    ['as small as clients write', Array.from({ length: 3_000 }, () => 4 * KIB + 60)],
    ['longer than a message', Array.from({ length: 8 }, () => 3 * 1024 * KIB + 5)],
    ['of all sizes', Array.from({ length: 400 }, (_, i) => 1 + ((i * 7_919) % 300) * KIB)],
  ])('is read once, of records %s', async (_, sizes) => {
    bench = new Bench();
    await bench.open();
    await bench.append(sizes);
    const first = bench.log.nextIndex - sizes.length;
    bench.read.bytes = 0;
    const { records, messages } = await bench.all(first);
    expect(records.map((record) => record.length)).toEqual(sizes);
    expect(records.every((record, i) => record.every((byte) => byte === i % 251))).toBe(true);
    expect(messages).toBeGreaterThan(3);
    // Beside the records there are their headers, and what the file of a segment has behind its last record.
    expect(bench.read.bytes).toBeLessThan(payloadBytes(sizes) * 1.02);
    expect(bench.scans).toBe(1);
  });

  it('is read once after a start that has read only the end of the log', async () => {
    bench = new Bench();
    await bench.open();
    const sizes = Array.from({ length: 120 }, () => 256 * KIB + 100);
    const first = bench.log.nextIndex;
    await bench.append(sizes);
    await bench.log.close();
    await bench.open();
    bench.read.bytes = 0;
    await bench.all(first + 1);
    // Where it begins is looked up in the segment it begins in, which takes reading that one.
    expect(bench.read.bytes).toBeLessThan(payloadBytes(sizes) * 1.02 + 2 * SEGMENT_BYTES);
  });

  it('goes on with what was appended after the reading was begun', async () => {
    bench = new Bench();
    await bench.open();
    const first = bench.log.nextIndex;
    await bench.append([900 * KIB, 100]);
    expect((await bench.next(first)).map((r) => r.length)).toEqual([900 * KIB, 100]);
    await bench.append([7, 8]);
    expect((await bench.next(first + 2)).map((r) => r.length)).toEqual([7, 8]);
  });

  it('is begun anew where the log was cut, or the member is somewhere else', async () => {
    bench = new Bench();
    await bench.open();
    const first = bench.log.nextIndex;
    await bench.append(Array.from({ length: 12 }, () => 256 * KIB));
    const count = (await bench.next(first)).length;
    await bench.log.truncateFrom(first + count);
    bench.core.log.cut++;
    await bench.append([11, 12]);
    expect((await bench.next(first + count)).map((r) => r.length)).toEqual([11, 12]);
    expect((await bench.next(first)).length).toBe(count);
    expect(bench.scans).toBe(3);
  });

  it('keeps segments for as long as it is gone on with, and no longer', async () => {
    bench = new Bench();
    await bench.open();
    const first = bench.log.nextIndex;
    await bench.append(Array.from({ length: 12 }, () => 256 * KIB));
    const count = (await bench.next(first)).length;
    bench.nowMs = READING_KEPT_MS - 1;
    bench.readings.tick(bench.nowMs);
    await bench.next(first + count);
    expect(bench.scans).toBe(1);
    bench.nowMs += READING_KEPT_MS;
    bench.readings.tick(bench.nowMs);
    await bench.next(first + 2 * count);
    expect(bench.scans).toBe(2);
    bench.readings.end();
    await bench.next(first + 3 * count);
    expect(bench.scans).toBe(3);
  });

  it('of one member is nothing to another', async () => {
    bench = new Bench();
    await bench.open();
    const first = bench.log.nextIndex;
    await bench.append(Array.from({ length: 24 }, () => 256 * KIB));
    const other = { nodeId: 'c', incarnation: 'c1' };
    const count = (await bench.next(first)).length;
    await bench.next(first, other);
    await bench.next(first + count);
    await bench.next(first + count, other);
    expect(bench.scans).toBe(2);
  });
});
