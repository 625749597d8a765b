import { join } from 'node:path';
import { invariant } from '../../base/errors.ts';
import { LogCorruptionError } from '../../base/record-log.ts';
import type { FileSystem, OpenFile } from './file-system.ts';
import { MAX_RESYNC_CHECKSUM_BYTES } from './limits.ts';
import { basePositionOfName, Segment, TEMPORARY } from './segment.ts';
import {
  decodeSegmentHeader,
  RECORD_HEADER_BYTES,
  type Resync,
  resync,
  SEGMENT_HEADER_BYTES,
  statedIndex,
} from './segment-codec.ts';
import { type ReadEnd, readRecords } from './segment-reader.ts';
import { type DamagedSpan, type Salvage, walkRecords } from './segment-walk.ts';

/** What opening found and did. */
export interface LogOpenReport {
  readonly segments: number;
  readonly records: number;
  /** Set when the end of the last segment had been written but not made durable, and was torn. */
  readonly tornTail?: TornTail;
  /** Records with damage that can be lived with until it is mended; absent when there are none. */
  readonly damagedRecords?: number;
}

export interface TornTail {
  readonly segment: string;
  readonly offsetBytes: number;
  readonly cutBytes: number;
  /** Whole records behind the torn one, which were not durable either. */
  readonly recordsBehind: number;
  readonly reason: string;
}

export interface RecoveredSegments {
  /** In order; the last is the one to append to. Empty for a new log. */
  readonly segments: readonly Segment[];
  /** The last one's file, open. */
  readonly lastFile: OpenFile | undefined;
  /** Left behind by an interrupted truncation, reset or trim; to be removed. */
  readonly superseded: readonly Segment[];
  readonly tornTail: TornTail | undefined;
  readonly damagedRecords: number;
}

export interface RecoveryOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  /** Up to where the durable marker says all is durable; undefined when it is lost. */
  readonly durablePosition: number | undefined;
  readonly verifySealed: boolean;
  /** Sealed segments that hold only records below this are not read either. */
  readonly verifyFrom: number;
  readonly mustExist: boolean;
  readonly salvage: Salvage | undefined;
}

/**
 * Reads what a directory holds and decides what of it counts.
 * @throws LogCorruptionError when records that were durable are damaged or missing
 */
export async function recoverSegments(options: RecoveryOptions): Promise<RecoveredSegments> {
  const found = await readHeaders(options);
  const { live, superseded } = resolveSupersession(found);
  let damagedRecords = 0;
  for (const [i, segment] of live.slice(0, -1).entries()) {
    const next = live[i + 1];
    invariant(next !== undefined, 'every segment but the last has a next one');
    damagedRecords += await recoverSealed(options, segment, next);
  }
  const last = live.at(-1);
  if (last === undefined) {
    if (options.mustExist || (options.durablePosition ?? 0) > 0) {
      throw damaged('the log had durable records, and no segment is left', 'none', 0);
    }
    return { segments: [], lastFile: undefined, superseded, tornTail: undefined, damagedRecords: 0 };
  }
  const file = await options.fileSystem.open(join(options.directory, last.name));
  try {
    const { tornTail, salvaged } = await recoverLast(file, last, options);
    damagedRecords += salvaged;
    await file.syncData();
    return { segments: live, lastFile: file, superseded, tornTail, damagedRecords };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeaders({ fileSystem, directory }: RecoveryOptions): Promise<Segment[]> {
  const segments: Segment[] = [];
  for (const name of (await fileSystem.list(directory)).sort()) {
    if (name.endsWith(TEMPORARY)) await fileSystem.remove(join(directory, name));
    const basePosition = basePositionOfName(name);
    if (basePosition === undefined) continue;
    const file = await fileSystem.open(join(directory, name));
    try {
      const input = new Uint8Array(SEGMENT_HEADER_BYTES);
      const header = decodeSegmentHeader(input.subarray(0, await file.read(input, 0)));
      if ('bad' in header) throw damaged(header.bad, name, 0);
      if (header.basePosition !== basePosition) throw damaged('it is under another name', name, 0);
      segments.push(new Segment(header));
    } finally {
      await file.close();
    }
  }
  return segments;
}

/**
 * A segment voids every record of earlier segments from its own first index on: creating it is how a
 * truncation takes effect, in one rename. One that starts over voids earlier segments altogether.
 */
function resolveSupersession(found: readonly Segment[]): { live: Segment[]; superseded: Segment[] } {
  let live: Segment[] = [];
  const superseded: Segment[] = [];
  for (const segment of found) {
    const kept = segment.startsOver ? [] : live.filter((s) => s.firstIndex < segment.firstIndex);
    superseded.push(...live.filter((s) => !kept.includes(s)));
    live = [...kept, segment];
  }
  return { live, superseded };
}

/**
 * Everything in a segment was durable before the next one was made, so here nothing can be torn.
 * @returns damaged records that were salvaged
 */
async function recoverSealed(options: RecoveryOptions, segment: Segment, next: Segment): Promise<number> {
  const expected = next.firstIndex - segment.firstIndex;
  segment.recordCount = expected;
  segment.offsets = undefined;
  if (!options.verifySealed || next.firstIndex <= options.verifyFrom) return 0;
  const file = await options.fileSystem.open(join(options.directory, segment.name));
  let salvaged = 0;
  try {
    const range = {
      offset: SEGMENT_HEADER_BYTES,
      relativeIndex: 0,
      untilRelativeIndex: expected,
      salvage: options.salvage,
    };
    for await (const step of walkRecords(file, segment, range)) {
      if (step.kind === 'damage') throwUnlessSalvaged(segment, step.span);
      if (step.kind === 'damage') salvaged++;
    }
  } finally {
    await file.close();
  }
  return salvaged;
}

function throwUnlessSalvaged(segment: Segment, span: DamagedSpan): void {
  if (span.payload !== undefined) return;
  const missing = `record ${segment.firstIndex + span.relativeIndex}: ${span.reason}`;
  throw damaged(missing, segment.name, span.offset);
}

async function recoverLast(
  file: OpenFile,
  segment: Segment,
  options: RecoveryOptions,
): Promise<{ tornTail: TornTail | undefined; salvaged: number }> {
  let from = { offset: SEGMENT_HEADER_BYTES, relativeIndex: 0 };
  for (let salvaged = 0; ; salvaged++) {
    const end = await readAll(file, segment, from, (offset) => {
      segment.offsets?.push(offset);
      segment.recordCount++;
    });
    segment.endOffset = end.offset;
    const behind = end.clean ? NOTHING_BEHIND : await readBehind(file, segment, end);
    const damage = durableDamage(segment, end, behind, options.durablePosition);
    if (damage === undefined) return { tornTail: await cutTail(file, segment, end, behind), salvaged };
    const span = await salvagedAt(file, segment, end, options.salvage);
    if (span?.endOffset === undefined) throw damaged(damage, segment.name, end.offset);
    segment.offsets?.push(span.offset);
    segment.recordCount++;
    from = { offset: span.endOffset, relativeIndex: span.untilRelativeIndex };
  }
}

/** @returns what is wrong where reading ended, if what should be there was durable */
function durableDamage(
  segment: Segment,
  end: ReadEnd,
  behind: Resync,
  durablePosition: number | undefined,
): string | undefined {
  const durableEnd = (durablePosition ?? 0) - segment.basePosition;
  if (durableEnd > end.offset) return `record ${segment.nextIndex} was durable: ${end.reason}`;
  if (end.clean) return undefined;
  const proven = behind.durableEnd > end.offset || behind.exhausted;
  if (!proven && (behind.records === 0 || durablePosition !== undefined)) return undefined;
  return `record ${segment.nextIndex}, with ${behind.records} whole ones behind it: ${end.reason}`;
}

async function salvagedAt(
  file: OpenFile,
  segment: Segment,
  end: ReadEnd,
  salvage: Salvage | undefined,
): Promise<DamagedSpan | undefined> {
  const { offset, relativeIndex } = end;
  const range = { offset, relativeIndex, untilRelativeIndex: relativeIndex + 1, salvage };
  for await (const step of walkRecords(file, segment, range)) {
    return step.kind === 'damage' && step.span.payload !== undefined ? step.span : undefined;
  }
  return undefined;
}

/**
 * What was never durable is taken off, and what a former life of the file has left: from here on nothing stands behind
 * the end that a later opening could take for something of this life.
 */
async function cutTail(
  file: OpenFile,
  segment: Segment,
  end: ReadEnd,
  behind: Resync,
): Promise<TornTail | undefined> {
  if (end.clean) return undefined;
  const sizeBytes = await file.sizeBytes();
  const isOwn = behind.records > 0 || (await mayBeOwn(file, segment, end));
  await file.truncate(end.offset);
  if (!isOwn) return undefined;
  return {
    segment: segment.name,
    offsetBytes: end.offset,
    cutBytes: sizeBytes - end.offset,
    recordsBehind: behind.records,
    reason: end.reason,
  };
}

/** Whether what stands at the end is what is left of a record of this life, for all that can be seen. */
async function mayBeOwn(file: OpenFile, segment: Segment, end: ReadEnd): Promise<boolean> {
  if (segment.salt === undefined) return true;
  const header = new Uint8Array(RECORD_HEADER_BYTES);
  if ((await file.read(header, end.offset)) < header.length) return false;
  return statedIndex(header, 0, segment.key) === end.relativeIndex;
}

const NOTHING_BEHIND: Resync = { records: 0, durableEnd: 0, exhausted: false };

async function readBehind(file: OpenFile, segment: Segment, end: ReadEnd): Promise<Resync> {
  const rest = Buffer.allocUnsafeSlow(Math.max(0, (await file.sizeBytes()) - end.offset));
  const length = await file.read(rest, end.offset);
  const bytes = rest.subarray(0, length);
  return resync(bytes, end.offset, segment.key, end.relativeIndex, MAX_RESYNC_CHECKSUM_BYTES);
}

async function readAll(
  file: OpenFile,
  segment: Segment,
  from: { readonly offset: number; readonly relativeIndex: number },
  found: (offset: number) => void,
): Promise<ReadEnd> {
  const reading = readRecords(file, segment, { ...from, maxRecords: Number.MAX_SAFE_INTEGER });
  for (;;) {
    const next = await reading.next();
    if (next.done === true) return next.value;
    for (const record of next.value) found(record.offset);
  }
}

export function damaged(what: string, segment: string, offsetBytes: number): LogCorruptionError {
  return new LogCorruptionError(`damaged log, segment ${segment}, offset ${offsetBytes}: ${what}`, {
    segment,
    offsetBytes,
  });
}
