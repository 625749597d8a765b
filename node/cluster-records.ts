import { join } from 'node:path';
import type { Counters } from '../base/counters.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { LogCorruptionError, type RecordLog } from '../base/record-log.ts';
import { unreadableLog } from '../cluster/unreadable-log.ts';
import type { FileSystem } from '../storage/log/file-system.ts';
import { openSegmentedLog } from '../storage/log/segmented-log.ts';
import type { LogLife } from './log-life.ts';

/** Whole segments are trimmed, and the cluster log is small. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
/** Damaged logs that are kept to be looked into; the oldest goes when there is one more. */
const MAX_DAMAGED_KEPT = 3;

const LOG = 'raft';
const DAMAGED = /^raft\.damaged-(\d+)$/;
/** Stands from before a log is set aside until the log in its place says so itself. */
const LOST = 'raft.lost';

export interface ClusterRecordsOptions {
  /** The node's data directory, which exists. */
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
  readonly counters: Counters;
  /** By which another log in the place of this node's is known; absent: it is not looked for. */
  readonly life?: LogLife;
}

/**
 * The records of the cluster log in a node's directory. A log whose durable records are damaged can be set aside; no
 * crash on the way makes the empty one in its place look like that of a node that has promised nothing yet.
 */
export class ClusterRecords {
  readonly #options: ClusterRecordsOptions;
  /** Stands in for a log that cannot be opened; using it says why. */
  records: RecordLog;
  /** Why an earlier log was set aside, while the present one may not say so itself. */
  readonly lost: string | undefined;

  private constructor(options: ClusterRecordsOptions, records: RecordLog, lost: string | undefined) {
    this.#options = options;
    this.records = records;
    this.lost = lost;
  }

  static async open(options: ClusterRecordsOptions): Promise<ClusterRecords> {
    const { fileSystem, directory } = options;
    const isLost = (await fileSystem.list(directory)).includes(LOST);
    const lost = isLost ? 'the log before this one was damaged and has been set aside' : undefined;
    try {
      const other = await options.life?.refusal(join(directory, LOG));
      if (other !== undefined) throw new LogCorruptionError(other, { segment: LOG, offsetBytes: 0 });
      return new ClusterRecords(options, await openLog(options), lost);
    } catch (error) {
      if (!(error instanceof LogCorruptionError)) throw error;
      return new ClusterRecords(options, unreadableLog(error), lost);
    }
  }

  /** Puts the log where it can be looked into, and begins an empty one, which is to be told that one was lost. */
  async setAside(): Promise<RecordLog> {
    const { fileSystem, directory, logger } = this.#options;
    const marker = await fileSystem.create(join(directory, LOST));
    await marker.syncData();
    await marker.close();
    await fileSystem.syncDirectory(directory);
    await this.records.close().catch((error: unknown) => {
      logger.warn('cluster.log.not-closed', { message: describeError(error) });
    });
    const numbers = (await fileSystem.list(directory))
      .map((name) => Number(DAMAGED.exec(name)?.[1] ?? Number.NaN))
      .filter((number) => !Number.isNaN(number))
      .sort((a, b) => a - b);
    const name = `raft.damaged-${(numbers.at(-1) ?? 0) + 1}`;
    await fileSystem.makeDirectory(join(directory, LOG));
    await fileSystem.rename(join(directory, LOG), join(directory, name));
    for (const old of numbers.slice(0, Math.max(0, numbers.length + 1 - MAX_DAMAGED_KEPT))) {
      await fileSystem.removeTree(join(directory, `raft.damaged-${old}`));
    }
    await fileSystem.syncDirectory(directory);
    logger.error('cluster.log.set-aside', { as: join(directory, name) });
    this.records = await openLog(this.#options);
    return this.records;
  }

  /** The log says by itself what has been lost. To be called before this node says anything to others. */
  async noted(): Promise<void> {
    const { fileSystem, directory, life } = this.#options;
    await life?.renew(join(directory, LOG));
    if (!(await fileSystem.list(directory)).includes(LOST)) return;
    await fileSystem.remove(join(directory, LOST));
    await fileSystem.syncDirectory(directory);
  }
}

async function openLog({
  directory,
  fileSystem,
  logger,
  counters,
}: ClusterRecordsOptions): Promise<RecordLog> {
  const { log } = await openSegmentedLog({
    directory: join(directory, LOG),
    fileSystem,
    segmentSizeBytes: SEGMENT_BYTES,
    logger,
    counters,
  });
  // The log syncs its own directory; that it is in this one is ours to make durable.
  await fileSystem.syncDirectory(directory);
  return log;
}
