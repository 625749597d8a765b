import type { OpenFile } from './file-system.ts';
import type { Segment } from './segment.ts';
import {
  encodeSegmentHeader,
  frameRecords,
  RECORD_HEADER_BYTES,
  recordSizeBytes,
  SEGMENT_HEADER_BYTES,
} from './segment-codec.ts';
import type { StoredRecord } from './segment-reader.ts';
import type { SegmentSet } from './segment-set.ts';
import { type DamagedSpan, readAround, type Salvage, walkRecords } from './segment-walk.ts';

/** The records given do not fit where the damage is, so they are not those that were there. */
export class MendedRecordsError extends Error {}

export interface Replacements {
  readonly relativeIndex: number;
  readonly payloads: readonly Uint8Array[];
}

/**
 * Writes a sealed segment once more, with damaged records replaced and everything at its place. Sound records are
 * copied as they were read and compared; other damage stays as it is.
 * @throws MendedRecordsError
 */
export async function writeMended(
  target: OpenFile,
  from: { readonly segments: SegmentSet; readonly segment: Segment; readonly salvage: Salvage | undefined },
  replacements: Replacements,
): Promise<void> {
  const { segments, segment, salvage } = from;
  await target.write([encodeSegmentHeader(segment)], 0);
  await segments.use(segment, async (file) => {
    let reached = SEGMENT_HEADER_BYTES;
    for await (const step of walkRecords(file, segment, {
      offset: SEGMENT_HEADER_BYTES,
      relativeIndex: 0,
      untilRelativeIndex: segment.recordCount,
      salvage,
    })) {
      const parts =
        step.kind === 'records'
          ? asStored(step.records)
          : await mended(file, segment, step.span, replacements);
      await target.write(parts, reached);
      reached += parts.reduce((sum, part) => sum + part.length, 0);
    }
  });
}

/** Records of one batch stand in one buffer with their headers, one after another. */
function asStored(records: readonly StoredRecord[]): Uint8Array[] {
  return records.map(({ payload }) => {
    const sizeBytes = recordSizeBytes(payload.length);
    return new Uint8Array(payload.buffer, payload.byteOffset - RECORD_HEADER_BYTES, sizeBytes);
  });
}

async function mended(
  file: OpenFile,
  segment: Segment,
  span: DamagedSpan,
  { relativeIndex, payloads }: Replacements,
): Promise<readonly Uint8Array[]> {
  const skip = span.relativeIndex - relativeIndex;
  const count = span.untilRelativeIndex - span.relativeIndex;
  const spanBytes = span.endOffset === undefined ? undefined : span.endOffset - span.offset;
  if (skip < 0 || skip + count > payloads.length) {
    const asItIs = Buffer.alloc(spanBytes ?? Math.max(0, (await file.sizeBytes()) - span.offset));
    return [asItIs.subarray(0, await readAround(file).read(asItIs, span.offset))];
  }
  const framed = frameRecords(payloads.slice(skip, skip + count), {
    key: segment.key,
    offset: span.offset,
    firstRelativeIndex: span.relativeIndex,
    // All of a sealed segment is durable.
    durableEnd: span.offset,
  });
  if (spanBytes !== undefined && framed.sizeBytes !== spanBytes) {
    throw new MendedRecordsError(`records of ${framed.sizeBytes} bytes in place of ${spanBytes}`);
  }
  return framed.parts;
}
