import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import { LogFailure } from '../../base/record-log.ts';
import { isNoSpace, type OpenFile } from './file-system.ts';
import { WRITE_OUT_BYTES } from './limits.ts';
import { withPadding } from './segment.ts';
import { type FramedRecords, frameRecords, RECORD_HEADER_BYTES, recordsSizeBytes } from './segment-codec.ts';
import type { SegmentSet } from './segment-set.ts';

/** The end of the log: the file that records are added to. One call at a time, but for sync beside write. */
export class LogTail {
  readonly #segments: SegmentSet;
  #file: OpenFile;
  readonly #counters: Counters;
  /** Up to where the system has been told to write the file to the disk. */
  #writtenOutOffset = 0;

  constructor(segments: SegmentSet, file: OpenFile, counters: Counters) {
    this.#segments = segments;
    this.#file = file;
    this.#counters = counters;
  }

  get nextIndex(): number {
    return this.#segments.last.nextIndex;
  }

  /** Position after all that is written. */
  get endPosition(): number {
    return this.#segments.last.endPosition;
  }

  /** Bytes of the current segment in use, and whether it holds a record. */
  get used(): { bytes: number; hasRecords: boolean } {
    const { endOffset, recordCount } = this.#segments.last;
    return { bytes: endOffset, hasRecords: recordCount > 0 };
  }

  /**
   * Adds records in one write.
   * @param checksums see RecordLog.append
   * @param durableNextIndex every record below it is known to be durable
   * @returns positions of their payloads
   * @throws whatever the file system does; when it is full, nothing was added
   */
  async write(
    records: readonly Uint8Array[],
    checksums: readonly (number | undefined)[],
    durableNextIndex: number,
  ): Promise<number[]> {
    const framed = this.#frame(records, checksums, durableNextIndex);
    if (framed.sizeBytes > 0) await this.#writeOrUndo(this.#padded(framed), this.#segments.last.endOffset);
    return this.#added(framed);
  }

  /**
   * The same before it returns.
   * @returns undefined when nothing was added: there is no way to do so now, or no space, which write() will find as
   *   well, over whatever part of it may have been written
   */
  writeNow(
    records: readonly Uint8Array[],
    checksums: readonly (number | undefined)[],
    durableNextIndex: number,
  ): number[] | undefined {
    if (this.#file.writeNow === undefined) return undefined;
    // Framing goes over every byte, and write() would have to do it once more.
    if (this.#file.mayWriteNow?.(recordsSizeBytes(records)) === false) return undefined;
    const framed = this.#frame(records, checksums, durableNextIndex);
    try {
      if (!this.#file.writeNow(this.#padded(framed), this.#segments.last.endOffset)) return undefined;
    } catch (error) {
      if (isNoSpace(error)) return undefined;
      throw error;
    }
    this.#counters.add('log.writes.at-once');
    return this.#added(framed);
  }

  #frame(
    records: readonly Uint8Array[],
    checksums: readonly (number | undefined)[],
    durableNextIndex: number,
  ): FramedRecords {
    const { key, endOffset: offset, recordCount: firstRelativeIndex } = this.#segments.last;
    const durableEnd = this.#durableEnd(durableNextIndex);
    return frameRecords(records, { key, offset, firstRelativeIndex, durableEnd }, checksums);
  }

  #padded({ parts, sizeBytes }: FramedRecords): readonly Uint8Array[] {
    const segment = this.#segments.last;
    return withPadding(parts, segment, segment.endOffset + sizeBytes);
  }

  /** The records are in the file. @returns positions of their payloads */
  #added({ sizeBytes, offsets }: FramedRecords): number[] {
    const segment = this.#segments.last;
    segment.endOffset += sizeBytes;
    segment.recordCount += offsets.length;
    for (const offset of offsets) segment.offsets?.push(offset);
    this.#writeOut(segment.endOffset);
    this.#counters.add('log.appended.records', offsets.length);
    this.#counters.add('log.appended.bytes', sizeBytes);
    this.#counters.add('log.writes');
    return offsets.map((offset) => segment.basePosition + offset + RECORD_HEADER_BYTES);
  }

  /** A segment is made durable before there is another, and all that is appended waits: so its disk is to be busy by then. */
  #writeOut(endOffset: number): void {
    const offset = this.#writtenOutOffset;
    const lengthBytes = endOffset - offset - ((endOffset - offset) % WRITE_OUT_BYTES);
    if (lengthBytes === 0 || this.#file.writeOut?.(offset, lengthBytes) !== true) return;
    this.#writtenOutOffset += lengthBytes;
  }

  /** @throws LogFailure whatever the reason: the system may have dropped the data and not say so again */
  async sync(): Promise<void> {
    try {
      await this.#file.syncData();
    } catch (error) {
      throw new LogFailure(`fdatasync failed: ${describeError(error)}`, { cause: error });
    }
    this.#counters.add('log.syncs');
  }

  /** Nothing more is added to the segment: what its file was before is cut off, and the rest made durable. */
  async seal(): Promise<void> {
    const segment = this.#segments.last;
    if (segment.formerBytes > segment.endOffset) await this.#file.truncate(segment.endOffset);
    segment.formerBytes = 0;
    await this.sync();
  }

  /** Goes on in a new segment from `index`; what is before must be durable. See SegmentSet.add. */
  async begin(index: number, startsOver: boolean): Promise<void> {
    const { segment, file } = await this.#segments.add(index, startsOver);
    this.#file = file;
    this.#writtenOutOffset = 0;
    this.#counters.add('log.segments.created');
    if (segment.formerBytes > 0) this.#counters.add('log.segments.reused');
  }

  /** A full disk may have taken a part: it is cut off durably, lest it come back after a crash. */
  async #writeOrUndo(parts: readonly Uint8Array[], offset: number): Promise<void> {
    try {
      await this.#file.write(parts, offset);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      this.#counters.add('log.full');
      try {
        await this.#file.truncate(offset);
        this.#segments.last.formerBytes = 0;
        await this.#file.syncData();
      } catch (undoing) {
        throw new LogFailure(`undoing a partial write failed: ${describeError(undoing)}`, { cause: undoing });
      }
      throw error;
    }
  }

  /** Offset in the segment below which everything is known to be durable. */
  #durableEnd(durableNextIndex: number): number {
    const segment = this.#segments.last;
    const durableRecords = durableNextIndex - segment.firstIndex;
    if (durableRecords <= 0) return 0;
    if (durableRecords >= segment.recordCount) return segment.endOffset;
    return segment.offsets?.at(durableRecords) ?? 0;
  }
}
