import { join } from 'node:path';
import { describeError, invariant } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { LogCorruptionError, LogFailure } from '../../base/record-log.ts';
import { type FileSystem, isMissing, isNoSpace, type OpenFile } from './file-system.ts';
import { MAX_LOADED_OFFSET_TABLES, MAX_RECORD_BYTES, SPARE_SIZE_RANGE } from './limits.ts';
import { damaged } from './recovery.ts';
import {
  createSegment,
  RecordOffsets,
  type Segment,
  SegmentFiles,
  syncOrFail,
  TEMPORARY,
} from './segment.ts';
import {
  decodeRecord,
  RECORD_HEADER_BYTES,
  recordSizeBytes,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  statedLength,
} from './segment-codec.ts';
import type { StoredRecord } from './segment-reader.ts';
import { type DamagedSpan, type Salvage, walkRecords } from './segment-walk.ts';
import type { SpareSegments } from './spare-segments.ts';

export interface SegmentSetOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly logger: Logger;
  readonly salvage?: Salvage | undefined;
  /** Undefined: no segment's file is used again. */
  readonly spares?: SpareSegments | undefined;
  /** What a segment takes as a rule. */
  readonly segmentSizeBytes: number;
}

/** The segments of one log, in order: finding, reading and removing them. Appending is SegmentedLog's. */
export class SegmentSet {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #files: SegmentFiles;
  readonly #logger: Logger;
  readonly #salvage: Salvage | undefined;
  readonly #spares: SpareSegments | undefined;
  readonly #usualBytes: number;
  #segments: Segment[] = [];
  /** Sealed segments whose offsets are loaded, the least recently used first. */
  readonly #loaded = new Set<Segment>();
  #removals: Promise<void> = Promise.resolve();
  #closing = false;
  #leaveBehind = false;
  #stopWaiting: (() => void) | undefined;
  #syncFailure: LogFailure | undefined;
  #tellSyncFailed: (failure: LogFailure) => void = () => {};

  constructor(options: SegmentSetOptions) {
    this.#salvage = options.salvage;
    this.#spares = options.spares;
    this.#usualBytes = options.segmentSizeBytes;
    this.#fileSystem = options.fileSystem;
    this.#directory = options.directory;
    this.#files = new SegmentFiles(options.fileSystem, options.directory);
    this.#logger = options.logger;
  }

  get first(): Segment {
    const first = this.#segments[0];
    invariant(first !== undefined, 'a log has at least one segment');
    return first;
  }

  get last(): Segment {
    const last = this.#segments.at(-1);
    invariant(last !== undefined, 'a log has at least one segment');
    return last;
  }

  get count(): number {
    return this.#segments.length;
  }

  /** Has that one told when a removal could not be made durable. Nothing about the disk is known from then on. */
  onSyncFailed(handler: (failure: LogFailure) => void): void {
    this.#tellSyncFailed = handler;
    if (this.#syncFailure !== undefined) handler(this.#syncFailure);
  }

  /** Starts from what recovery found; the last segment's file is kept open for appending. */
  adopt(segments: readonly Segment[], lastFile: OpenFile): void {
    this.#segments = [...segments];
    this.last.users++;
    this.#files.adopt(this.last, lastFile);
  }

  /**
   * Adds a segment to append to. When this returns, it is durable and has taken effect: earlier records
   * from its first index on (or all of them) no longer count.
   */
  async add(firstIndex: number, startsOver: boolean): Promise<{ segment: Segment; file: OpenFile }> {
    const previous = this.#segments.at(-1);
    const basePosition = previous?.endPosition ?? 0;
    const header = { firstIndex, basePosition, startsOver };
    const created = await this.#create(header);
    const kept = startsOver ? [] : this.#segments.filter((s) => s.firstIndex < firstIndex);
    const dropped = this.#segments.filter((s) => !kept.includes(s));
    for (const segment of kept) segment.cutFrom(firstIndex);
    this.#segments = [...kept, created.segment];
    created.segment.users++;
    this.#files.adopt(created.segment, created.file);
    if (previous !== undefined) {
      this.#files.release(previous);
      if (kept.includes(previous)) this.#noteLoaded(previous);
    }
    for (const segment of dropped) this.remove(segment);
    // What is closed was made durable when it was sealed: there is nothing that closing it could tell.
    this.#files.makeRoom().catch(() => {});
    return created;
  }

  async #create(header: SegmentHeader): Promise<{ segment: Segment; file: OpenFile }> {
    const spare = this.#spares?.take(this);
    if (spare !== undefined) {
      const salted = { ...header, salt: this.#spares?.newSalt() };
      try {
        return await createSegment(this.#fileSystem, this.#directory, salted, spare);
      } catch (error) {
        // Some file systems take room for what is written over. What failed has been removed.
        if (!isNoSpace(error)) throw error;
      }
    }
    return createSegment(this.#fileSystem, this.#directory, header);
  }

  /** Gives back the room of files that were kept to be used again, whichever log's. @returns whether there was any */
  async giveUpSpares(): Promise<boolean> {
    return this.#spares !== undefined && (await this.#spares.giveUp()) > 0;
  }

  /** Where there is no space, what is kept to be used again is given up first. */
  async withSpareRoom(attempt: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (!isNoSpace(error) || !(await this.giveUpSpares())) throw error;
      }
    }
  }

  /** Drops whole segments that hold only records before `index`; never the last. */
  trimBefore(index: number): void {
    while (this.#segments.length > 1 && this.first.nextIndex <= index) {
      this.remove(this.first);
      this.#segments.shift();
    }
  }

  /**
   * Removes a file once nobody reads it. One after another, each made durable: were a later one gone and
   * an earlier one back after a crash, the gap would look like damage. So after one that fails, all stay.
   */
  remove(segment: Segment): void {
    this.#loaded.delete(segment);
    this.#removals = this.#removals.then(async () => {
      try {
        if (segment.users > 0 && !this.#closing) {
          await new Promise<void>((resolve) => {
            segment.whenUnused = resolve;
            this.#stopWaiting = resolve;
          });
        }
        // What stays behind is superseded or trimmed again; this and all later removals are left out.
        if (this.#closing && segment.users > 0) this.#leaveBehind = true;
        if (this.#leaveBehind) return;
        await this.#files.closeSegment(segment);
        await this.#takeOut(segment);
      } catch (error) {
        if (isMissing(error)) return;
        this.#leaveBehind = true;
        this.#logger.warn('log.segment.not-removed', { segment: segment.name, error: describeError(error) });
        if (!(error instanceof LogFailure)) return;
        this.#syncFailure = error;
        this.#tellSyncFailed(error);
      }
    });
  }

  /** Removes a segment's file, or gives it a name that counts for nothing and keeps it. */
  async #takeOut(segment: Segment): Promise<void> {
    const path = join(this.#directory, segment.name);
    const sizeBytes = this.#closing ? 0 : await this.#spareBytes(path);
    if (sizeBytes === 0) await this.#fileSystem.remove(path);
    else await this.#fileSystem.rename(path, path + TEMPORARY);
    // Only once it cannot be back under its name after a crash may it be written to.
    await syncOrFail(this.#fileSystem, this.#directory);
    if (sizeBytes === 0) return;
    const remove = (): Promise<void> => this.#fileSystem.removeTree(path + TEMPORARY).catch(() => {});
    await this.#spares?.keep({ owner: this, path: path + TEMPORARY, sizeBytes, remove });
  }

  /** How long the file is; 0 when it is not to be kept. */
  async #spareBytes(path: string): Promise<number> {
    const spares = this.#spares;
    if (spares === undefined || !spares.mayKeep(1)) return 0;
    const file = await this.#fileSystem.open(path);
    const sizeBytes = await file.sizeBytes();
    await file.close();
    // One that was sealed early saves little, and takes the place of one that saves more.
    const isUsual =
      sizeBytes >= this.#usualBytes / SPARE_SIZE_RANGE && sizeBytes <= this.#usualBytes * SPARE_SIZE_RANGE;
    return isUsual && spares.mayKeep(sizeBytes) ? sizeBytes : 0;
  }

  /** The segment holding `index`. */
  ofIndex(index: number): Segment {
    const segment = this.#segments[this.#search((s) => s.firstIndex <= index)];
    invariant(segment !== undefined && index < segment.nextIndex, `record ${index} is not in the log`);
    return segment;
  }

  /** The segment holding `position`; undefined when it lies before the log. */
  ofPosition(position: number): Segment | undefined {
    return this.#segments[this.#search((s) => s.basePosition <= position)];
  }

  async readPosition(position: number, lengthBytes: number): Promise<Uint8Array> {
    const segment = this.ofPosition(position);
    invariant(segment !== undefined, `position ${position} lies before the log`);
    const offset = position - segment.basePosition;
    const out = Buffer.allocUnsafe(lengthBytes);
    const length = await this.#files.use(segment, (file) => readOrDamage(file, out, offset, segment));
    if (length < lengthBytes) throw damaged('the file ends inside a payload', segment.name, offset);
    return out;
  }

  readPositionNow(position: number, into: Uint8Array): boolean {
    const segment = this.ofPosition(position);
    return segment !== undefined && this.#files.readNow(segment, into, position - segment.basePosition);
  }

  async readRecord(index: number): Promise<Uint8Array> {
    const segment = this.ofIndex(index);
    const offsets = await this.offsets(segment);
    const relativeIndex = index - segment.firstIndex;
    const offset = offsets.at(relativeIndex);
    const end = offsets.endOf(relativeIndex);
    const knownBytes = end === undefined ? undefined : end - offset;
    return this.#files.use(segment, async (file) => {
      const sizeBytes = knownBytes ?? (await statedSizeBytes(file, segment, offset));
      const input = Buffer.allocUnsafe(sizeBytes);
      const length = await readOrDamage(file, input, offset, segment);
      const decoded = decodeRecord(input.subarray(0, length), 0, segment.key, relativeIndex);
      if (decoded.kind === 'record') return decoded.payload;
      const reason = decoded.kind === 'bad' ? decoded.reason : 'the file ends inside it';
      throw damaged(`record ${index}: ${reason}`, segment.name, offset);
    });
  }

  /** The segments that hold records from `fromIndex` to before `untilIndex`, kept until released. */
  retain(fromIndex: number, untilIndex: number): RetainedRange[] {
    const ranges: RetainedRange[] = [];
    for (const segment of this.#segments) {
      const from = Math.max(fromIndex, segment.firstIndex);
      const until = Math.min(untilIndex, segment.nextIndex);
      if (from >= until) continue;
      segment.users++;
      ranges.push({ segment, fromIndex: from, untilIndex: until });
    }
    return ranges;
  }

  release(range: RetainedRange): void {
    this.releaseSegment(range.segment);
  }

  /** Ends one use counted in `segment.users`. */
  releaseSegment(segment: Segment): void {
    this.#files.release(segment);
  }

  async *readRange({
    segment,
    fromIndex,
    untilIndex,
  }: RetainedRange): AsyncGenerator<readonly StoredRecord[]> {
    const relativeIndex = fromIndex - segment.firstIndex;
    const offset =
      relativeIndex === 0 ? SEGMENT_HEADER_BYTES : (await this.offsets(segment)).at(relativeIndex);
    const file = await this.use(segment, (file) => Promise.resolve(file));
    const untilRelativeIndex = untilIndex - segment.firstIndex;
    const range = { offset, relativeIndex, untilRelativeIndex, salvage: this.#salvage };
    for await (const step of walkRecords(file, segment, range)) {
      if (step.kind === 'records') {
        yield step.records;
        continue;
      }
      const { span } = step;
      const what = `record ${segment.firstIndex + span.relativeIndex}: ${span.reason}`;
      if (span.payload === undefined) throw damaged(what, segment.name, span.offset);
      const { relativeIndex, offset, payload } = span;
      yield [{ relativeIndex, offset, payload, durableEnd: 0, isDamaged: true }];
    }
  }

  /** Waits for removals under way, though not for readers that never end, then closes every file. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopWaiting?.();
    await this.#removals;
    await this.#spares?.giveUp(this);
    await this.#files.closeAll();
  }

  /** Index of the last segment for which `holds`, which is true up to some segment and false after it. */
  #search(holds: (segment: Segment) => boolean): number {
    let low = -1;
    let high = this.#segments.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (holds(this.#segments[middle] as Segment)) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Where the segment's records are, as far as damage lets it be seen. */
  async offsets(segment: Segment): Promise<RecordOffsets> {
    if (segment.offsets !== undefined) {
      if (this.#loaded.has(segment)) this.#noteLoaded(segment);
      return segment.offsets;
    }
    const offsets = new RecordOffsets();
    const range = {
      offset: SEGMENT_HEADER_BYTES,
      relativeIndex: 0,
      untilRelativeIndex: segment.recordCount,
      salvage: this.#salvage,
    };
    await this.use(segment, async (file) => {
      for await (const step of walkRecords(file, segment, range)) {
        if (step.kind === 'records') for (const record of step.records) offsets.push(record.offset);
        else for (const _ of numbersOf(step.span)) offsets.push(step.span.offset);
      }
    });
    // A truncation may have shortened the segment meanwhile.
    offsets.cut(segment.recordCount);
    segment.offsets = offsets;
    if (this.#segments.includes(segment)) this.#noteLoaded(segment);
    return offsets;
  }

  /** Runs `use` with the segment's file, which is neither closed nor removed meanwhile. */
  use<T>(segment: Segment, use: (file: OpenFile) => Promise<T>): Promise<T> {
    return this.#files.use(segment, use);
  }

  /** Whether it still counts. */
  includes(segment: Segment): boolean {
    return this.#segments.includes(segment);
  }

  /** From now on the segment is read from that file, which has been put in its place. */
  exchangeFile(segment: Segment, file: OpenFile): Promise<void> {
    // Its offsets may have been hidden by damage.
    segment.offsets = undefined;
    this.#loaded.delete(segment);
    return this.#files.exchange(segment, file);
  }

  #noteLoaded(segment: Segment): void {
    this.#loaded.delete(segment);
    this.#loaded.add(segment);
    if (this.#loaded.size <= MAX_LOADED_OFFSET_TABLES) return;
    for (const oldest of this.#loaded) {
      oldest.offsets = undefined;
      this.#loaded.delete(oldest);
      return;
    }
  }
}

export interface RetainedRange {
  readonly segment: Segment;
  readonly fromIndex: number;
  readonly untilIndex: number;
}

function* numbersOf(span: DamagedSpan): Generator<number> {
  for (let i = span.relativeIndex; i < span.untilRelativeIndex; i++) yield i;
}

/** What a record's header says it takes; nothing follows it from which that could be told. */
async function statedSizeBytes(file: OpenFile, segment: Segment, offset: number): Promise<number> {
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  await readOrDamage(file, header, offset, segment);
  return recordSizeBytes(Math.min(statedLength(header, 0, segment.key), MAX_RECORD_BYTES));
}

function readOrDamage(file: OpenFile, into: Uint8Array, offset: number, segment: Segment): Promise<number> {
  return asDamage(file.read(into, offset), segment, offset);
}

/** What the device cannot read back is as lost as what it reads back wrong. */
async function asDamage<T>(reading: Promise<T>, segment: Segment, offset: number): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof LogCorruptionError) throw error;
    throw damaged(describeError(error), segment.name, offset);
  }
}
