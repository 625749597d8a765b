import { join } from 'node:path';
import { describeError, invariant } from '../../base/errors.ts';
import { LogFailure } from '../../base/record-log.ts';
import type { FileSystem, OpenFile } from './file-system.ts';
import { FORMER_PAGE_BYTES, MAX_OPEN_SEGMENTS } from './limits.ts';
import {
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  type SegmentKey,
  segmentKey,
} from './segment-codec.ts';

const NAME = /^(\d{16})\.segment$/;
const NAME_DIGITS = 16;
/** Ends the names of files that count for nothing; they are removed when the log is opened. */
export const TEMPORARY = '.tmp';

/** Files are named by their base position, so that names in order are segments in the order of creation. */
function segmentName(basePosition: number): string {
  return `${String(basePosition).padStart(NAME_DIGITS, '0')}.segment`;
}

/** @returns undefined when the name is not a segment's */
export function basePositionOfName(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** One segment as known in memory. */
export class Segment {
  readonly name: string;
  readonly firstIndex: number;
  readonly basePosition: number;
  readonly startsOver: boolean;
  readonly salt: Uint8Array | undefined;
  readonly key: SegmentKey;
  /** Up to where the file still is what it was in a former life; 0 when it has none, or nothing is left of it. */
  formerBytes = 0;
  /** Records that count; a truncation leaves the bytes of the others behind in the file. */
  recordCount = 0;
  /** Where the next record goes; meaningful only for the segment being appended to. */
  endOffset = SEGMENT_HEADER_BYTES;
  /** Where each record begins. Always there for the last segment; loaded when needed for a sealed one. */
  offsets: RecordOffsets | undefined = new RecordOffsets();
  /** Readers in progress; the file stays until they are done. */
  users = 0;
  /** Resolves waiting removal once the last reader has gone. */
  whenUnused: (() => void) | undefined;

  constructor(header: SegmentHeader) {
    this.name = segmentName(header.basePosition);
    this.firstIndex = header.firstIndex;
    this.basePosition = header.basePosition;
    this.startsOver = header.startsOver;
    this.salt = header.salt;
    this.key = segmentKey(header);
  }

  get nextIndex(): number {
    return this.firstIndex + this.recordCount;
  }

  get endPosition(): number {
    return this.basePosition + this.endOffset;
  }

  /** Drops `index` and later records from what counts. */
  cutFrom(index: number): void {
    this.recordCount = Math.min(this.recordCount, index - this.firstIndex);
    this.offsets?.cut(this.recordCount);
  }
}

/**
 * A growing table of file offsets, 4 bytes a record. Records whose own places damage has hidden have that of the
 * first of them.
 */
export class RecordOffsets {
  #table = new Uint32Array(64);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(offset: number): void {
    if (this.#length === this.#table.length) {
      const grown = new Uint32Array(this.#table.length * 2);
      grown.set(this.#table);
      this.#table = grown;
    }
    this.#table[this.#length++] = offset;
  }

  at(i: number): number {
    invariant(i >= 0 && i < this.#length, `record ${i} of ${this.#length}`);
    return this.#table[i] as number;
  }

  /** Where a record ends; undefined where that is not known: for the last, and within damage. */
  endOf(i: number): number | undefined {
    if (i + 1 >= this.#length) return undefined;
    const end = this.at(i + 1);
    return end > this.at(i) ? end : undefined;
  }

  /** The records at the last place at or before `offset`: one, or those whose places are not known apart. */
  recordsAt(offset: number): { readonly first: number; readonly until: number } | undefined {
    const until = this.#firstAfter(offset);
    if (until === 0) return undefined;
    return { first: this.#firstAfter(this.at(until - 1) - 1), until };
  }

  #firstAfter(offset: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#table[middle] as number) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  cut(length: number): void {
    this.#length = Math.min(this.#length, length);
  }
}

/**
 * Makes a segment that appears whole or not at all: its header is durable before its name is.
 * @param former a file to be written over, of a name that counts for nothing; it is removed when this fails
 * @throws LogFailure when it is not known which; any other error means not at all
 */
export async function createSegment(
  fileSystem: FileSystem,
  directory: string,
  header: SegmentHeader,
  former?: FormerFile,
): Promise<{ segment: Segment; file: OpenFile }> {
  const segment = new Segment(header);
  segment.formerBytes = former?.sizeBytes ?? 0;
  const temporary = former?.path ?? join(directory, `${segment.name}${TEMPORARY}`);
  const file = await (former === undefined ? fileSystem.create(temporary) : fileSystem.open(temporary));
  try {
    await file.write(withPadding([encodeSegmentHeader(header)], segment, SEGMENT_HEADER_BYTES), 0);
    await file.syncData();
    await fileSystem.rename(temporary, join(directory, segment.name));
  } catch (error) {
    await file.close();
    await fileSystem.removeTree(temporary);
    throw error;
  }
  try {
    await syncOrFail(fileSystem, directory);
  } catch (error) {
    // It may come to be there after a crash, and void what is appended elsewhere until then.
    await file.close();
    throw error;
  }
  return { segment, file };
}

/** Makes the entries of a log's directory durable. @throws LogFailure whatever the reason */
export async function syncOrFail(fileSystem: FileSystem, directory: string): Promise<void> {
  try {
    await fileSystem.syncDirectory(directory);
  } catch (error) {
    throw new LogFailure(`syncing the log's directory failed: ${describeError(error)}`, { cause: error });
  }
}

/** A file of a segment that was let go of. */
export interface FormerFile {
  readonly path: string;
  readonly sizeBytes: number;
}

const ZEROS = new Uint8Array(FORMER_PAGE_BYTES);

/**
 * What is to be written so that it ends at `endOffset`, with zeros behind it to the end of the page. Written in part, a page
 * of a former life that has left the system's memory would first have to be read from the disk, by the thread that writes.
 */
export function withPadding(
  parts: readonly Uint8Array[],
  { formerBytes }: Pick<Segment, 'formerBytes'>,
  endOffset: number,
): readonly Uint8Array[] {
  if (endOffset >= formerBytes) return parts;
  const pageEnd = Math.ceil(endOffset / FORMER_PAGE_BYTES) * FORMER_PAGE_BYTES;
  const paddingBytes = Math.min(pageEnd, formerBytes) - endOffset;
  return paddingBytes === 0 ? parts : [...parts, ZEROS.subarray(0, paddingBytes)];
}

interface Held {
  readonly opening: Promise<OpenFile>;
  /** Once it is open. */
  file: OpenFile | undefined;
}

/** Open files of segments, the least recently used closed first. */
export class SegmentFiles {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #open = new Map<Segment, Held>();
  /** Taken out of use by exchange, and still being read. */
  readonly #exchanged = new Map<Segment, OpenFile[]>();

  constructor(fileSystem: FileSystem, directory: string) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
  }

  /** Takes over a file that is already open. */
  adopt(segment: Segment, file: OpenFile): void {
    this.#open.set(segment, { opening: Promise.resolve(file), file });
  }

  /** @returns whether the segment's file had it at once: it is open, and that part of it in memory */
  readNow(segment: Segment, into: Uint8Array, offset: number): boolean {
    const held = this.#open.get(segment);
    if (held?.file?.readNow === undefined) return false;
    this.#refresh(segment, held);
    return held.file.readNow(into, offset);
  }

  /** Runs `use` with the segment's file, which is neither closed nor removed meanwhile. */
  async use<T>(segment: Segment, use: (file: OpenFile) => Promise<T>): Promise<T> {
    segment.users++;
    try {
      return await use(await this.#file(segment));
    } finally {
      this.release(segment);
    }
  }

  /** Ends one use counted in `segment.users`. */
  release(segment: Segment): void {
    segment.users--;
    if (segment.users > 0) return;
    // Nothing was written through it, so that closing it has nothing to tell.
    this.#closeExchanged(segment).catch(() => {});
    segment.whenUnused?.();
  }

  /** Puts another file in the place of the segment's; readers of the old one go on with it. */
  async exchange(segment: Segment, file: OpenFile): Promise<void> {
    const old = this.#open.get(segment);
    this.adopt(segment, file);
    if (old === undefined) return;
    this.#exchanged.set(segment, [...(this.#exchanged.get(segment) ?? []), await old.opening]);
    if (segment.users === 0) await this.#closeExchanged(segment);
  }

  async #closeExchanged(segment: Segment): Promise<void> {
    const files = this.#exchanged.get(segment) ?? [];
    this.#exchanged.delete(segment);
    for (const file of files) await file.close();
  }

  async closeSegment(segment: Segment): Promise<void> {
    const held = this.#open.get(segment);
    this.#open.delete(segment);
    await this.#closeExchanged(segment);
    if (held !== undefined) await (await held.opening).close();
  }

  async closeAll(): Promise<void> {
    const all = new Set([...this.#open.keys(), ...this.#exchanged.keys()]);
    for (const segment of all) await this.closeSegment(segment);
  }

  async #file(segment: Segment): Promise<OpenFile> {
    const known = this.#open.get(segment);
    if (known !== undefined) {
      this.#refresh(segment, known);
      return known.opening;
    }
    await this.makeRoom();
    const held = this.#open.get(segment) ?? {
      opening: this.#fileSystem.open(join(this.#directory, segment.name)),
      file: undefined,
    };
    this.#open.set(segment, held);
    try {
      held.file = await held.opening;
      return held.file;
    } catch (error) {
      this.#open.delete(segment);
      throw error;
    }
  }

  /** Re-inserting makes it the most recently used one. */
  #refresh(segment: Segment, held: Held): void {
    this.#open.delete(segment);
    this.#open.set(segment, held);
  }

  /** Closes those that have not been used for longest, as far as nobody reads them, until another one may be opened. */
  async makeRoom(): Promise<void> {
    while (this.#open.size >= MAX_OPEN_SEGMENTS) {
      const unused = [...this.#open.keys()].find((segment) => segment.users === 0);
      if (unused === undefined) return;
      await this.closeSegment(unused);
    }
  }
}
