import type { OpenFile } from './file-system.ts';
import { MAX_RECORD_BYTES, MAX_RESYNC_CHECKSUM_BYTES, READ_AROUND_BYTES } from './limits.ts';
import type { Segment } from './segment.ts';
import {
  checksumBeforePayload,
  decodeRecord,
  findWholeRecord,
  RECORD_HEADER_BYTES,
  recordSizeBytes,
  statedIndex,
  statedLength,
} from './segment-codec.ts';
import { type ReadEnd, readRecords, type StoredRecord } from './segment-reader.ts';

/**
 * Judges a record that does not match its checksum by what is inside of it.
 * @param before the checksum over what stands before the payload
 * @param whole the checksum that the record states of all of it
 * @returns whether everything but data with checksums of their own is proven to be as it was written
 */
export type Salvage = (payload: Uint8Array, checksum: { before: number; whole: number }) => boolean;

/** Records that are not as they were written, between two that are. */
export interface DamagedSpan {
  readonly relativeIndex: number;
  /** Of the record after the span. */
  readonly untilRelativeIndex: number;
  readonly offset: number;
  /** Where the span ends; undefined when that is not known, for the last of a segment. */
  readonly endOffset: number | undefined;
  readonly reason: string;
  /** What can be used of a span of one record, see Salvage. */
  readonly payload: Uint8Array | undefined;
}

export type WalkStep =
  | { readonly kind: 'records'; readonly records: readonly StoredRecord[] }
  | { readonly kind: 'damage'; readonly span: DamagedSpan };

/** Reads records in order, going on behind damage. What the device cannot read back is damage as well. */
export async function* walkRecords(
  file: OpenFile,
  segment: Segment,
  range: {
    readonly offset: number;
    readonly relativeIndex: number;
    readonly untilRelativeIndex: number;
    readonly salvage?: Salvage | undefined;
  },
): AsyncGenerator<WalkStep> {
  const readable = readAround(file);
  let { offset, relativeIndex } = range;
  const until = range.untilRelativeIndex;
  while (relativeIndex < until) {
    const reading = readRecords(readable, segment, {
      offset,
      relativeIndex,
      maxRecords: until - relativeIndex,
    });
    let end: ReadEnd | undefined;
    while (end === undefined) {
      const next = await reading.next();
      if (next.done === true) end = next.value;
      else yield { kind: 'records', records: next.value };
    }
    if (end.relativeIndex >= until) return;
    const span = await damagedSpan(readable, segment, end, until, range.salvage);
    yield { kind: 'damage', span };
    if (span.endOffset === undefined) return;
    offset = span.endOffset;
    relativeIndex = span.untilRelativeIndex;
  }
}

async function damagedSpan(
  file: Pick<OpenFile, 'read' | 'sizeBytes'>,
  segment: Segment,
  end: ReadEnd,
  until: number,
  salvage: Salvage | undefined,
): Promise<DamagedSpan> {
  const { offset, relativeIndex, reason } = end;
  const one = { relativeIndex, untilRelativeIndex: relativeIndex + 1, offset, reason, payload: undefined };
  const stated = await readStated(file, segment, offset);
  if (stated !== undefined) {
    const payload = stated.subarray(
      RECORD_HEADER_BYTES,
      RECORD_HEADER_BYTES + statedLength(stated, 0, segment.key),
    );
    const checksum = {
      before: checksumBeforePayload(stated, 0, segment.key.seed),
      whole: stated.readUInt32BE(4),
    };
    const isInPlace = statedIndex(stated, 0, segment.key) === relativeIndex;
    // Where all but the data is proven, so is the length.
    if (isInPlace && salvage?.(payload, checksum) === true) {
      return { ...one, endOffset: offset + stated.length, payload };
    }
  }
  const known = segment.offsets?.endOf(relativeIndex);
  if (known !== undefined) return { ...one, endOffset: known };
  if (stated !== undefined && (await isRecord(file, segment, offset + stated.length, relativeIndex + 1))) {
    return { ...one, endOffset: offset + stated.length };
  }
  const rest = Buffer.allocUnsafeSlow(Math.max(0, (await file.sizeBytes()) - offset));
  const bytes = rest.subarray(0, await file.read(rest, offset));
  const found = findWholeRecord(bytes, offset, segment.key, relativeIndex, MAX_RESYNC_CHECKSUM_BYTES);
  if (found === undefined || found.relativeIndex > until) {
    return { ...one, untilRelativeIndex: until, endOffset: undefined };
  }
  return { ...one, untilRelativeIndex: found.relativeIndex, endOffset: offset + found.at };
}

/** The record at `offset`, as long as it says it is; undefined where that cannot be. */
async function readStated(
  file: Pick<OpenFile, 'read'>,
  segment: Segment,
  offset: number,
): Promise<Buffer | undefined> {
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  if ((await file.read(header, offset)) < RECORD_HEADER_BYTES) return undefined;
  const lengthBytes = statedLength(header, 0, segment.key);
  if (lengthBytes > MAX_RECORD_BYTES) return undefined;
  const record = Buffer.allocUnsafeSlow(recordSizeBytes(lengthBytes));
  return (await file.read(record, offset)) === record.length ? record : undefined;
}

async function isRecord(
  file: Pick<OpenFile, 'read'>,
  segment: Segment,
  offset: number,
  relativeIndex: number,
): Promise<boolean> {
  const record = await readStated(file, segment, offset);
  return record !== undefined && decodeRecord(record, 0, segment.key, relativeIndex).kind === 'record';
}

/** The same file, with zeros where the device fails to read. */
export function readAround(file: OpenFile): Pick<OpenFile, 'read' | 'sizeBytes'> {
  return {
    sizeBytes: () => file.sizeBytes(),
    read: async (into, offsetBytes) => {
      try {
        return await file.read(into, offsetBytes);
      } catch {
        return readInPieces(file, into, offsetBytes);
      }
    },
  };
}

async function readInPieces(file: OpenFile, into: Uint8Array, offsetBytes: number): Promise<number> {
  const endBytes = Math.min(into.length, Math.max(0, (await file.sizeBytes()) - offsetBytes));
  for (let at = 0; at < endBytes; at += READ_AROUND_BYTES) {
    const piece = into.subarray(at, Math.min(at + READ_AROUND_BYTES, endBytes));
    try {
      await file.read(piece, offsetBytes + at);
    } catch {
      piece.fill(0);
    }
  }
  return endBytes;
}
