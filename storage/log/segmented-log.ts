import type { Counters } from '../../base/counters.ts';
import type { Logger } from '../../base/logger.ts';
import { DurableMarker } from './durable-marker.ts';
import type { FileSystem, OpenFile } from './file-system.ts';
import { DEFAULT_SEGMENT_SIZE_BYTES } from './limits.ts';
import { SegmentedLog } from './log-lanes.ts';
import { type LogOpenReport, type RecoveredSegments, recoverSegments } from './recovery.ts';
import { SegmentSet } from './segment-set.ts';
import type { Salvage } from './segment-walk.ts';
import type { SpareSegments } from './spare-segments.ts';

export type { LogOpenReport, TornTail } from './recovery.ts';
export { SegmentedLog };

export interface SegmentedLogOptions {
  /** The log's own; made when missing. */
  readonly directory: string;
  readonly fileSystem: FileSystem;
  /** Default 64 MiB. */
  readonly segmentSizeBytes?: number;
  /** Number of the first record of a new log; default 1. */
  readonly initialIndex?: number;
  /**
   * all (default): every record's checksum is verified. last-segment: opening is quick whatever the size,
   * and damage elsewhere is found when it is read.
   */
  readonly verify?: 'all' | 'last-segment';
  /** Records below are known some other way: segments of nothing else are not read. The last one always is. */
  readonly verifyFrom?: number;
  /** There is one already: that nothing of it is found is damage. */
  readonly mustExist?: boolean;
  /** Records that are damaged in a way this knows how to live with do not keep the log from being opened. */
  readonly salvage?: Salvage;
  /** Keeps the files of segments that the log lets go of, to be written over; without it they are removed. */
  readonly spares?: SpareSegments | undefined;
  readonly logger: Logger;
  readonly counters: Counters;
}

/**
 * Opens a log, or makes a new one. A torn tail (written, never durable) is cut and reported.
 * @throws LogCorruptionError when records that were durable are damaged or missing; nothing was changed
 */
export async function openSegmentedLog(
  options: SegmentedLogOptions,
): Promise<{ log: SegmentedLog; report: LogOpenReport }> {
  const { fileSystem, directory, logger, counters } = options;
  await fileSystem.makeDirectory(directory);
  const recovered = await recoverSegments({
    fileSystem,
    directory,
    durablePosition: await DurableMarker.read(fileSystem, directory),
    verifySealed: options.verify !== 'last-segment',
    verifyFrom: options.verifyFrom ?? 0,
    mustExist: options.mustExist === true,
    salvage: options.salvage,
  });
  const segmentSizeBytes = options.segmentSizeBytes ?? DEFAULT_SEGMENT_SIZE_BYTES;
  const segments = new SegmentSet({ ...options, segmentSizeBytes });
  try {
    const file = await startSegments(segments, recovered, options.initialIndex ?? 1);
    // A segment made just before a crash may stand in the directory and not yet on the disk.
    await fileSystem.syncDirectory(directory);
    for (const segment of recovered.superseded) segments.remove(segment);
    const marker = await DurableMarker.open(fileSystem, directory);
    await marker.advance(segments.last.endPosition);
    const care = { fileSystem, directory, salvage: options.salvage };
    const log = new SegmentedLog({ segments, file, marker, segmentSizeBytes, care, logger, counters });
    return { log, report: reportOpening(options, log, segments.count, recovered) };
  } catch (error) {
    await segments.close();
    throw error;
  }
}

async function startSegments(
  segments: SegmentSet,
  recovered: RecoveredSegments,
  initialIndex: number,
): Promise<OpenFile> {
  if (recovered.lastFile === undefined) return (await segments.add(initialIndex, true)).file;
  segments.adopt(recovered.segments, recovered.lastFile);
  return recovered.lastFile;
}

function reportOpening(
  { directory, logger, counters }: SegmentedLogOptions,
  log: SegmentedLog,
  segments: number,
  { tornTail, damagedRecords }: RecoveredSegments,
): LogOpenReport {
  if (damagedRecords > 0) {
    counters.add('log.damaged-records', damagedRecords);
    logger.error('log.damaged-records', { directory, damagedRecords });
  }
  if (tornTail !== undefined) {
    counters.add('log.torn-tails');
    logger.warn('log.torn-tail.cut', { directory, ...tornTail });
  }
  const records = log.nextIndex - log.firstIndex;
  return {
    segments,
    records,
    ...(tornTail === undefined ? {} : { tornTail }),
    ...(damagedRecords === 0 ? {} : { damagedRecords }),
  };
}
