import { join } from 'node:path';
import { describeError, invariant } from '../../base/errors.ts';
import {
  type DamagedRecords,
  type LocatedRecords,
  LogFailure,
  LogFullError,
  type VerifiedPart,
} from '../../base/record-log.ts';
import { type FileSystem, isNoSpace, type OpenFile } from './file-system.ts';
import { type Segment, syncOrFail } from './segment.ts';
import { decodeSegmentHeader, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES } from './segment-codec.ts';
import { MendedRecordsError, writeMended } from './segment-mending.ts';
import type { SegmentSet } from './segment-set.ts';
import { type Salvage, walkRecords } from './segment-walk.ts';

export interface LogCareOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly salvage: Salvage | undefined;
}

/** What looking after a log asks of whoever writes it. */
export interface CaredLog {
  readonly segments: SegmentSet;
  /** In turn with appends, truncations and trims. */
  inTurn(run: () => Promise<void>): Promise<void>;
  /** Goes on in a new segment; only in turn. */
  beginSegment(): Promise<void>;
  fail(doing: string, error: unknown): LogFailure;
}

/** Finds damage in a log and puts it right. */
export class LogCare {
  readonly #options: LogCareOptions;
  readonly #log: CaredLog;
  /** Where the last look ended: the next one mostly goes on there. */
  #reached: { segment: Segment; relativeIndex: number; offset: number } | undefined;
  #mending: Promise<unknown> = Promise.resolve();
  #isClosing = false;

  constructor(options: LogCareOptions, log: CaredLog) {
    this.#options = options;
    this.#log = log;
  }

  async verify(fromIndex: number, untilIndex: number, maxBytes: number): Promise<VerifiedPart> {
    const { segments } = this.#log;
    if (fromIndex >= untilIndex) return { nextIndex: untilIndex, readBytes: 0, damaged: [] };
    const segment = segments.ofIndex(fromIndex);
    const relativeIndex = fromIndex - segment.firstIndex;
    const untilRelativeIndex = Math.min(untilIndex - segment.firstIndex, segment.recordCount);
    return segments.use(segment, async (file) => {
      const damaged = relativeIndex === 0 ? await this.#verifyHeader(file, segment) : [];
      const offset = await this.#offsetOf(segment, relativeIndex);
      const { salvage } = this.#options;
      let reached = { segment, relativeIndex, offset };
      let isKnown = true;
      for await (const step of walkRecords(file, segment, {
        offset,
        relativeIndex,
        untilRelativeIndex,
        salvage,
      })) {
        if (step.kind === 'damage') {
          const { span } = step;
          damaged.push({
            firstIndex: segment.firstIndex + span.relativeIndex,
            count: span.untilRelativeIndex - span.relativeIndex,
            reason: `${segment.name} at ${span.offset}: ${span.reason}`,
          });
          reached = { segment, relativeIndex: span.untilRelativeIndex, offset: span.endOffset ?? offset };
          // Nothing tells where the next one is: it is found by going through the segment again.
          if (span.endOffset === undefined) isKnown = false;
        } else {
          const last = step.records.at(-1);
          if (last === undefined) continue;
          const end = last.offset + RECORD_HEADER_BYTES + Math.ceil(last.payload.length / 8) * 8;
          reached = { segment, relativeIndex: last.relativeIndex + 1, offset: end };
        }
        if (reached.offset - offset >= maxBytes) break;
      }
      this.#reached = isKnown ? reached : undefined;
      return {
        nextIndex: segment.firstIndex + reached.relativeIndex,
        readBytes: reached.offset - offset,
        damaged,
      };
    });
  }

  /** All of it is known, so that it can be written anew from memory. */
  async #verifyHeader(file: OpenFile, segment: Segment): Promise<DamagedRecords[]> {
    const input = new Uint8Array(SEGMENT_HEADER_BYTES);
    let reason: string | undefined;
    try {
      const header = decodeSegmentHeader(input.subarray(0, await file.read(input, 0)));
      if ('bad' in header) reason = header.bad;
      else if (header.basePosition !== segment.basePosition || header.firstIndex !== segment.firstIndex)
        reason = 'it is the header of another segment';
    } catch (error) {
      reason = describeError(error);
    }
    if (reason === undefined) return [];
    return [{ firstIndex: segment.firstIndex, count: 0, reason: `${segment.name}: ${reason}` }];
  }

  async #offsetOf(segment: Segment, relativeIndex: number): Promise<number> {
    if (relativeIndex === 0) return SEGMENT_HEADER_BYTES;
    const reached = this.#reached;
    if (reached?.segment === segment && reached.relativeIndex === relativeIndex) return reached.offset;
    return (await this.#log.segments.offsets(segment)).at(relativeIndex);
  }

  async locate(position: number): Promise<LocatedRecords | undefined> {
    const segment = this.#log.segments.ofPosition(position);
    if (segment === undefined) return undefined;
    const offsets = await this.#log.segments.offsets(segment);
    const found = offsets.recordsAt(position - segment.basePosition);
    if (found === undefined) return undefined;
    return {
      firstIndex: segment.firstIndex + found.first,
      count: found.until - found.first,
      position: segment.basePosition + offsets.at(found.first) + RECORD_HEADER_BYTES,
    };
  }

  /** One at a time. */
  mend(firstIndex: number, payloads: readonly Uint8Array[]): Promise<boolean> {
    const mended = this.#mending.then(() => this.#mend(firstIndex, payloads));
    this.#mending = mended.catch(() => {});
    return mended;
  }

  /** Mends nothing more; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#mending;
  }

  /**
   * Sealed segments are never written to: a sound one is made beside it, durably, and put in its place by one
   * rename. After a crash there is the one or the other.
   */
  async #mend(firstIndex: number, payloads: readonly Uint8Array[]): Promise<boolean> {
    const { segments } = this.#log;
    let segment: Segment | undefined;
    if (this.#isClosing) return false;
    await this.#log.inTurn(async () => {
      if (firstIndex < segments.first.firstIndex || firstIndex > segments.last.nextIndex) return;
      // Nothing can be put in the place of a file that is being appended to.
      if (firstIndex >= segments.last.firstIndex) await this.#log.beginSegment();
      if (firstIndex >= segments.last.firstIndex) return;
      segment = segments.ofIndex(firstIndex);
      segment.users++;
    });
    if (segment === undefined) return false;
    try {
      return await this.#mendSegment(segment, firstIndex - segment.firstIndex, payloads);
    } finally {
      segments.releaseSegment(segment);
    }
  }

  async #mendSegment(
    segment: Segment,
    relativeIndex: number,
    payloads: readonly Uint8Array[],
  ): Promise<boolean> {
    const { fileSystem, directory, salvage } = this.#options;
    const { segments } = this.#log;
    const temporary = join(directory, `${segment.name}.tmp`);
    let made: OpenFile | undefined;
    let isMended = false;
    try {
      made = await fileSystem.create(temporary);
      const from = { segments, segment, salvage };
      await writeMended(made, from, { relativeIndex, payloads });
      await made.syncData();
      if (this.#isClosing) return false;
      const file = made;
      await this.#log.inTurn(async () => {
        if (!segments.includes(segment)) return;
        invariant(segment !== segments.last, 'only a sealed segment is put in the place of another');
        await fileSystem.rename(temporary, join(directory, segment.name));
        isMended = true;
        await segments.exchangeFile(segment, file);
        await syncOrFail(fileSystem, directory);
      });
      return isMended;
    } catch (error) {
      if (error instanceof MendedRecordsError) return false;
      if (error instanceof LogFailure || error instanceof LogFullError) throw error;
      if (!isNoSpace(error)) throw this.#log.fail('mending the log', error);
      await segments.giveUpSpares();
      throw new LogFullError('the file system has no space to mend the log', { cause: error });
    } finally {
      if (!isMended) {
        await made?.close();
        await fileSystem.removeTree(temporary);
      }
    }
  }
}
