import type { Counters } from '../../base/counters.ts';
import { LogCorruptionError, type LogRecord, type RecordLog } from '../../base/record-log.ts';
import type { LunTable } from '../lun/lun-table.ts';
import { type DurableEnd, voidFor } from '../lun/superseded.ts';
import type { ReplicaCore, ReplicaEffect } from './core.ts';
import { FULL_ENOUGH_PART, MAX_APPEND_RECORDS, READING_KEPT_MS } from './limits.ts';

export interface LogReadingsPorts {
  readonly core: ReplicaCore;
  readonly table: LunTable;
  readonly counters: Counters;
  readonly scan: RecordLog['scan'];
}

/** A scan of the log for one member, between two messages to it. */
interface Reading {
  readonly records: AsyncIterator<LogRecord>;
  /** Of the log that it goes over: one that has been cut or replaced since is another. */
  readonly cut: number;
  nextIndex: number;
  /** Read and not sent yet, for want of room in the message. */
  next: LogRecord | undefined;
  keptMs: number;
}

/**
 * Reads the log for members that lack more of it than is in memory. The reading for a member goes on with the next message
 * where it was with the last one, so that no part of a file is read twice, nor the places of its records looked up again.
 */
export class LogReadings {
  readonly #ports: LogReadingsPorts;
  /** By member. One that is being read from is not here. */
  readonly #kept = new Map<string, Reading>();
  #isEnded = false;
  #durableEnd: DurableEnd | undefined;

  constructor(ports: LogReadingsPorts) {
    this.#ports = ports;
  }

  /**
   * Records from `fromIndex` on, for one message. Ends before a damaged record: it is sent when it has been mended, but for
   * one that a void can stand in for.
   */
  async next(stream: Extract<ReplicaEffect, { kind: 'stream' }>, nowMs: () => number): Promise<Uint8Array[]> {
    const { fromIndex, elideBelow } = stream;
    const until = elideBelow > fromIndex ? await this.#endBefore(elideBelow) : undefined;
    const kept = this.#take(stream.to.nodeId, fromIndex);
    const records = kept === undefined ? [] : await this.#readOn(kept, stream, until, nowMs);
    // A reading ends where the log did when it was begun.
    return records.length > 0 ? records : await this.#readOn(this.#begin(fromIndex), stream, until, nowMs);
  }

  /** Lets go of what has not been gone on with for a while. */
  tick(nowMs: number): void {
    for (const [nodeId, reading] of this.#kept) {
      if (nowMs - reading.keptMs < READING_KEPT_MS) continue;
      this.#kept.delete(nodeId);
      letGo(reading);
    }
  }

  /** Nothing is kept any more. */
  end(): void {
    this.#isEnded = true;
    for (const reading of this.#kept.values()) letGo(reading);
    this.#kept.clear();
  }

  #begin(fromIndex: number): Reading {
    const { core, scan } = this.#ports;
    const records = scan(fromIndex)[Symbol.asyncIterator]();
    return { records, cut: core.log.cut, nextIndex: fromIndex, next: undefined, keptMs: 0 };
  }

  /** The member's reading, if it is where that one is to go on. */
  #take(nodeId: string, fromIndex: number): Reading | undefined {
    const reading = this.#kept.get(nodeId);
    if (reading === undefined) return undefined;
    this.#kept.delete(nodeId);
    if (reading.nextIndex === fromIndex && reading.cut === this.#ports.core.log.cut) return reading;
    letGo(reading);
    return undefined;
  }

  #keep(nodeId: string, reading: Reading, nowMs: number): void {
    const other = this.#kept.get(nodeId);
    if (other !== undefined) letGo(other);
    reading.keptMs = nowMs;
    this.#kept.set(nodeId, reading);
  }

  async #readOn(
    reading: Reading,
    { to, maxBytes, elideBelow }: Extract<ReplicaEffect, { kind: 'stream' }>,
    until: DurableEnd | undefined,
    nowMs: () => number,
  ): Promise<Uint8Array[]> {
    const { table, counters } = this.#ports;
    const records: Uint8Array[] = [];
    let lengthBytes = 0;
    let goesOn = false;
    try {
      for (;;) {
        const scanned = await nextOf(reading);
        if (scanned === undefined) break;
        const elided =
          until !== undefined && scanned.index < elideBelow ? voidFor(table, scanned, until) : undefined;
        if (scanned.isDamaged === true && elided === undefined) break;
        const payload = elided ?? scanned.payload;
        const isFull = records.length === MAX_APPEND_RECORDS || lengthBytes + payload.length > maxBytes;
        if (records.length > 0 && isFull) {
          goesOn = true;
          break;
        }
        reading.next = undefined;
        reading.nextIndex = scanned.index + 1;
        if (elided !== undefined) counters.add('replication.elided-bytes', scanned.payload.length);
        records.push(payload);
        lengthBytes += payload.length;
        goesOn = scanned.isLastRead !== false && lengthBytes >= maxBytes * FULL_ENOUGH_PART;
        if (goesOn) break;
      }
    } catch (error) {
      if (!(error instanceof LogCorruptionError)) throw error;
      goesOn = false;
    }
    if (goesOn && !this.#isEnded) this.#keep(to.nodeId, reading, nowMs());
    else letGo(reading);
    return records;
  }

  /** Where the record before `index` ends; undefined while it is damaged, and then nothing is left out. */
  async #endBefore(index: number): Promise<DurableEnd | undefined> {
    if (this.#durableEnd?.index === index) return this.#durableEnd;
    try {
      for await (const { position, payload } of this.#ports.scan(index - 1)) {
        this.#durableEnd = { index, position: position + payload.length };
        return this.#durableEnd;
      }
    } catch (error) {
      if (!(error instanceof LogCorruptionError)) throw error;
    }
    return undefined;
  }
}

/** The record after those that were sent; undefined at the end. */
async function nextOf(reading: Reading): Promise<LogRecord | undefined> {
  if (reading.next !== undefined) return reading.next;
  const step = await reading.records.next();
  reading.next = step.done === true ? undefined : step.value;
  return reading.next;
}

/** Segments that a scan reads from are kept until it ends. One that is not read on has nothing more to tell. */
function letGo({ records }: Reading): void {
  records.return?.().catch(() => {});
}
