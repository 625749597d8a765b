import type { LogRecord } from '../../base/record-log.ts';
import type { OpenFile } from './file-system.ts';
import { SCAN_CHUNK_BYTES } from './limits.ts';
import type { Segment } from './segment.ts';
import { decodeRecord, RECORD_HEADER_BYTES } from './segment-codec.ts';

export interface StoredRecord {
  readonly relativeIndex: number;
  /** Where the record (its header) begins in the file. */
  readonly offset: number;
  readonly payload: Uint8Array;
  /** Of this segment, as known when the record was written. */
  readonly durableEnd: number;
  /** Only what Salvage has proven of it is as it was written. */
  readonly isDamaged?: boolean;
}

/** Why reading went no further. */
export interface ReadEnd {
  /** The file ended at a record's edge (true), or what follows is no record. */
  readonly clean: boolean;
  readonly reason: string;
  /** Where the next record would begin. */
  readonly offset: number;
  readonly relativeIndex: number;
}

/**
 * Reads records in order from one place on, a chunk at a time, until `maxRecords`, the end of the file or
 * the first thing that is not the expected record. Payloads are views of a chunk that is never reused.
 */
export async function* readRecords(
  file: Pick<OpenFile, 'read'>,
  segment: Segment,
  from: { readonly offset: number; readonly relativeIndex: number; readonly maxRecords: number },
): AsyncGenerator<readonly StoredRecord[], ReadEnd> {
  let offset = from.offset;
  let relativeIndex = from.relativeIndex;
  const untilIndex = from.relativeIndex + from.maxRecords;
  let wantedBytes = SCAN_CHUNK_BYTES;
  /** The beginning of a record of which the last chunk had no more. */
  let begun: Uint8Array = new Uint8Array(0);
  while (relativeIndex < untilIndex) {
    const chunk = Buffer.allocUnsafeSlow(wantedBytes);
    chunk.set(begun);
    const length = begun.length + (await file.read(chunk.subarray(begun.length), offset + begun.length));
    const bytes = chunk.subarray(0, length);
    if (length === 0) return { clean: true, reason: 'the file ends here', offset, relativeIndex };
    const batch: StoredRecord[] = [];
    let at = 0;
    wantedBytes = SCAN_CHUNK_BYTES;
    while (relativeIndex < untilIndex) {
      const decoded = decodeRecord(bytes, at, segment.key, relativeIndex);
      if (decoded.kind === 'record') {
        const { payload, durableEnd } = decoded;
        batch.push({ relativeIndex, offset: offset + at, payload, durableEnd });
        at += decoded.sizeBytes;
        relativeIndex++;
        continue;
      }
      if (decoded.kind === 'incomplete' && length === chunk.length) {
        wantedBytes = Math.max(SCAN_CHUNK_BYTES, decoded.neededBytes);
        break;
      }
      if (batch.length > 0) yield batch;
      const clean = at === length;
      const reason = decoded.kind === 'bad' ? decoded.reason : 'the file ends inside a record';
      return { clean, reason, offset: offset + at, relativeIndex };
    }
    offset += at;
    begun = bytes.subarray(at);

    if (batch.length > 0) yield batch;
  }
  return { clean: true, reason: 'all were read', offset, relativeIndex };
}

/** Records that were read together, as the log gives them out. */
export function logRecords(
  { firstIndex, basePosition }: Segment,
  batch: readonly StoredRecord[],
): readonly LogRecord[] {
  return batch.map(({ relativeIndex, offset, payload, isDamaged }, i) => {
    const index = firstIndex + relativeIndex;
    const position = basePosition + offset + RECORD_HEADER_BYTES;
    const record = { index, position, payload, isLastRead: i === batch.length - 1 };
    return isDamaged === true ? { ...record, isDamaged } : record;
  });
}
