import { join } from 'node:path';
import { invariant } from '../../base/errors.ts';
import { LogCorruptionError } from '../../base/record-log.ts';
import type { FileSystem, OpenFile } from './file-system.ts';
import { MAX_RESYNC_CHECKSUM_BYTES } from './limits.ts';
import { basePositionOfName, Segment } from './segment.ts';
import { decodeSegmentHeader, resync, SEGMENT_HEADER_BYTES } from './segment-codec.ts';
import { type ReadEnd, readRecords } from './segment-reader.ts';

/** What opening found and did. */
export interface LogOpenReport {
  readonly segments: number;
  readonly records: number;
  /** Set when the end of the last segment had been written but not made durable, and was torn. */
  readonly tornTail?: TornTail;
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
}

export interface RecoveryOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  /** Up to where the durable marker says all is durable; undefined when it is lost. */
  readonly durablePosition: number | undefined;
  readonly verifySealed: boolean;
  readonly mustExist: boolean;
}

/**
 * Reads what a directory holds and decides what of it counts.
 * @throws LogCorruptionError when records that were durable are damaged or missing
 */
export async function recoverSegments(options: RecoveryOptions): Promise<RecoveredSegments> {
  const found = await readHeaders(options);
  const { live, superseded } = resolveSupersession(found);
  for (const [i, segment] of live.slice(0, -1).entries()) {
    const next = live[i + 1];
    invariant(next !== undefined, 'every segment but the last has a next one');
    await recoverSealed(options, segment, next);
  }
  const last = live.at(-1);
  if (last === undefined) {
    if (options.mustExist || (options.durablePosition ?? 0) > 0) {
      throw damaged('the log had durable records, and no segment is left', 'none', 0);
    }
    return { segments: [], lastFile: undefined, superseded, tornTail: undefined };
  }
  const file = await options.fileSystem.open(join(options.directory, last.name));
  try {
    const tornTail = await recoverLast(file, last, options.durablePosition);
    await file.syncData();
    return { segments: live, lastFile: file, superseded, tornTail };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeaders({ fileSystem, directory }: RecoveryOptions): Promise<Segment[]> {
  const segments: Segment[] = [];
  for (const name of (await fileSystem.list(directory)).sort()) {
    if (name.endsWith('.tmp')) await fileSystem.remove(join(directory, name));
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

/** Everything in a segment was durable before the next one was made, so here nothing can be torn. */
async function recoverSealed(options: RecoveryOptions, segment: Segment, next: Segment): Promise<void> {
  const expected = next.firstIndex - segment.firstIndex;
  segment.recordCount = expected;
  segment.offsets = undefined;
  if (!options.verifySealed) return;
  const file = await options.fileSystem.open(join(options.directory, segment.name));
  try {
    const end = await readAll(file, segment, expected, () => {});
    if (end.relativeIndex < expected) {
      const missing = `record ${segment.firstIndex + end.relativeIndex}: ${end.reason}`;
      throw damaged(missing, segment.name, end.offset);
    }
  } finally {
    await file.close();
  }
}

async function recoverLast(
  file: OpenFile,
  segment: Segment,
  durablePosition: number | undefined,
): Promise<TornTail | undefined> {
  const end = await readAll(file, segment, Number.MAX_SAFE_INTEGER, (offset) => {
    segment.offsets?.push(offset);
    segment.recordCount++;
  });
  segment.endOffset = end.offset;
  const durableEnd = (durablePosition ?? 0) - segment.basePosition;
  if (durableEnd > end.offset) {
    const what = `record ${segment.nextIndex} was durable: ${end.reason}`;
    throw damaged(what, segment.name, end.offset);
  }
  if (end.clean) return undefined;
  const behind = await readBehind(file, segment, end);
  const proven = behind.durableEnd > end.offset || behind.exhausted;
  if (proven || (behind.records > 0 && durablePosition === undefined)) {
    const what = `record ${segment.nextIndex}, with ${behind.records} whole ones behind it: ${end.reason}`;
    throw damaged(what, segment.name, end.offset);
  }
  const sizeBytes = await file.sizeBytes();
  await file.truncate(end.offset);
  return {
    segment: segment.name,
    offsetBytes: end.offset,
    cutBytes: sizeBytes - end.offset,
    recordsBehind: behind.records,
    reason: end.reason,
  };
}

async function readBehind(
  file: OpenFile,
  segment: Segment,
  end: ReadEnd,
): Promise<{ records: number; durableEnd: number; exhausted: boolean }> {
  const rest = Buffer.allocUnsafeSlow(Math.max(0, (await file.sizeBytes()) - end.offset));
  const length = await file.read(rest, end.offset);
  const bytes = rest.subarray(0, length);
  return resync(bytes, end.offset, segment.seed, end.relativeIndex, MAX_RESYNC_CHECKSUM_BYTES);
}

async function readAll(
  file: OpenFile,
  segment: Segment,
  maxRecords: number,
  found: (offset: number) => void,
): Promise<ReadEnd> {
  const reading = readRecords(file, segment, { offset: SEGMENT_HEADER_BYTES, relativeIndex: 0, maxRecords });
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
