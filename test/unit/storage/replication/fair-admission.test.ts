import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../../../storage/block-device.ts';
import { FairAdmission } from '../../../../storage/replication/fair-admission.ts';
import {
  FAIR_FLOOR_BYTES,
  FAIR_TURN_BYTES,
  MAX_IN_FLIGHT_BYTES,
  PIPELINE_BYTES,
} from '../../../../storage/replication/limits.ts';

const KIB = 1024;

/** A log that commits what is in flight in order, and writers that ask as fast as they are let in. */
class Log {
  readonly admission = new FairAdmission();
  readonly #inFlight: { readonly lunId: number; readonly lengthBytes: number }[] = [];
  readonly committed: { readonly lunId: number; readonly lengthBytes: number }[] = [];
  inFlightBytes = 0;

  write(lunId: number, lengthBytes: number): Promise<void> {
    const begin = (): void => {
      this.admission.began(lunId, lengthBytes);
      this.#inFlight.push({ lunId, lengthBytes });
      this.inFlightBytes += lengthBytes;
    };
    const wait = this.admission.admit(lunId, lengthBytes);
    if (wait === undefined) begin();
    return wait === undefined ? Promise.resolve() : wait.then(begin);
  }

  /** The oldest one is committed. */
  async commit(): Promise<boolean> {
    const oldest = this.#inFlight.shift();
    if (oldest === undefined) return false;
    this.inFlightBytes -= oldest.lengthBytes;
    this.admission.ended(oldest.lunId, oldest.lengthBytes);
    this.committed.push(oldest);
    this.admission.letIn();
    await Promise.resolve();
    await Promise.resolve();
    return true;
  }
}

const bytesOf = (log: Log, lunId: number): number =>
  log.committed.filter((w) => w.lunId === lunId).reduce((sum, w) => sum + w.lengthBytes, 0);

describe('admission to the log', () => {
  it('lets in no more than keeps the log busy, and the rest in its order', async () => {
    const log = new Log();
    const order: number[] = [];
    for (let i = 0; i < 200; i++) void log.write(1, 64 * KIB).then(() => order.push(i));
    await Promise.resolve();
    expect(log.inFlightBytes).toBe(PIPELINE_BYTES);
    while (await log.commit()) expect(log.inFlightBytes).toBeLessThanOrEqual(PIPELINE_BYTES);
    expect(order).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(log.inFlightBytes).toBe(0);
  });

  it('lets a LUN with little in flight in at once, however much others have', () => {
    const log = new Log();
    for (let i = 0; i < 128; i++) void log.write(1, 64 * KIB);
    expect(log.admission.admit(2, 4 * KIB)).toBeUndefined();
    log.admission.began(2, FAIR_FLOOR_BYTES - 4 * KIB);
    expect(log.admission.admit(2, 4 * KIB)).toBeUndefined();
    log.admission.began(2, 4 * KIB);
    expect(log.admission.admit(2, 4 * KIB)).toBeInstanceOf(Promise);
  });

  it('bounds what all those have together', () => {
    const { admission } = new Log();
    let lunId = 0;
    let bytes = 0;
    while (admission.admit(++lunId, FAIR_FLOOR_BYTES) === undefined) {
      admission.began(lunId, FAIR_FLOOR_BYTES);
      bytes += FAIR_FLOOR_BYTES;
    }
    expect(bytes).toBe(MAX_IN_FLIGHT_BYTES);
  });

  it('gives LUNs that all want more than there is the same number of bytes, whatever the size of their writes', async () => {
    const log = new Log();
    const sizes = [4 * KIB, 64 * KIB, 1024 * KIB, 12 * KIB];
    const ask = (lunId: number, lengthBytes: number): void => {
      void log.write(lunId, lengthBytes).then(() => ask(lunId, lengthBytes));
    };
    // Each asks again as soon as it is let in, many times over.
    for (const [i, size] of sizes.entries()) for (let n = 0; n < 128; n++) ask(i, size);
    for (let i = 0; i < 4000; i++) await log.commit();
    const before = sizes.map((_, i) => bytesOf(log, i));
    for (let i = 0; i < 20_000; i++) await log.commit();
    const moved = sizes.map((_, i) => bytesOf(log, i) - (before[i] as number));
    // Off by what is on its way: a pipeline, a turn and a write each.
    const slack = PIPELINE_BYTES + FAIR_TURN_BYTES + 1024 * KIB;
    expect(Math.max(...moved) - Math.min(...moved)).toBeLessThan(2 * slack);
    expect(Math.min(...moved)).toBeGreaterThan(8 * slack);
  });

  it('loses nobody, whatever comes in which order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 3 * 1024 * KIB }), fc.nat(3)),
          {
            maxLength: 80,
          },
        ),
        async (writes) => {
          const log = new Log();
          let ended = 0;
          for (const [lunId, lengthBytes, commits] of writes) {
            void log.write(lunId, lengthBytes).then(() => ended++);
            for (let i = 0; i < commits; i++) await log.commit();
          }
          while (await log.commit());
          expect(ended).toBe(writes.length);
          expect(log.inFlightBytes).toBe(0);
          expect(log.admission.admit(9, PIPELINE_BYTES)).toBeUndefined();
        },
      ),
      { numRuns: 100 },
    );
  });

  it('turns all away when the group is not served here any more', async () => {
    const log = new Log();
    const ends: string[] = [];
    for (let i = 0; i < 128; i++) {
      void log.write(1, 64 * KIB).catch((error: DeviceError) => ends.push(error.kind));
    }
    log.admission.failAll(() => new DeviceError('not-serving', 'elsewhere'));
    await Promise.resolve();
    await Promise.resolve();
    expect(ends).toHaveLength(128 - PIPELINE_BYTES / (64 * KIB));
    expect(log.admission.admit(1, 4 * KIB)).toBeUndefined();
  });
});
