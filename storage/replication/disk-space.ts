import type { Clock } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { SpareSegments } from '../log/spare-segments.ts';
import type { DiskRoom } from './core.ts';
import {
  DISK_SPACE_CHECK_MS,
  FILLING_OVER_FACTOR,
  FILLING_PARTS,
  LOG_RESERVE_PARTS,
  MAX_FILLING_BYTES,
  MAX_LOG_RESERVE_BYTES,
} from './limits.ts';

export interface DiskSpaceOptions {
  /** Of the file system that holds the logs. */
  readonly space: () => Promise<{ readonly freeBytes: number; readonly totalBytes: number }>;
  /** What the logs keep to write over; its room counts as taken until it is given up, which is before the disk fills up. */
  readonly spares?: Pick<SpareSegments, 'allow' | 'limitBytes'> | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  /** Counts what is appended by everybody who shares the disk; absent: nobody else does. */
  readonly appended?: AppendTally;
}

/** Bytes appended so far. */
export interface AppendTally {
  appended(lengthBytes: number): void;
  readonly appendedBytes: number;
}

class OwnTally implements AppendTally {
  appendedBytes = 0;

  appended(lengthBytes: number): void {
    this.appendedBytes += lengthBytes;
  }
}

/**
 * The room left for the logs of all groups. Clients' writes leave a reserve, so that compaction and the records of
 * the protocol still find room when clients find none: a full disk can always be cleaned up.
 */
export class DiskSpace {
  readonly #options: DiskSpaceOptions;
  #nextCheckMs = Number.NEGATIVE_INFINITY;
  #isChecking = false;
  readonly #tally: AppendTally;
  /** Left, and appended by everybody, when the file system was asked. */
  #leftThenBytes = Number.POSITIVE_INFINITY;
  #appendedThenBytes = 0;
  /** Less left than this is filling. */
  #fillingBytes = 0;
  #reserveBytes = Number.POSITIVE_INFINITY;
  #isLow = false;
  #isFilling = false;
  #isSpent = false;
  #maySpare = true;

  constructor(options: DiskSpaceOptions) {
    this.#options = options;
    this.#tally = options.appended ?? new OwnTally();
  }

  /** Whether clients' writes would take what is kept in reserve. */
  get isLow(): boolean {
    return this.#isLow;
  }

  /** Whether clients' writes may soon find no space: for them to be told while they still do. */
  get isFilling(): boolean {
    return this.#isFilling;
  }

  /** What clients' writes leave, as all members of a group are to know it. */
  get room(): DiskRoom {
    return { isFilling: this.#isFilling, isLow: this.#isLow, isSpent: this.#isSpent };
  }

  /** So much has been appended; counted until the file system is asked again. */
  took(lengthBytes: number): void {
    this.#tally.appended(lengthBytes);
    this.#look();
  }

  #look(): void {
    const leftBytes = this.#leftBytes;
    if (this.#maySpare) this.#judgeSpares();
    // A fast writer has used up what is between the thresholds before the file system is asked again.
    if (leftBytes < this.#fillingBytes) this.#setFilling(true);
    if (leftBytes <= 0) this.#setLow(true);
    if (leftBytes <= -this.#reserveBytes / 2) this.#isSpent = true;
  }

  get #leftBytes(): number {
    return this.#leftThenBytes - (this.#tally.appendedBytes - this.#appendedThenBytes);
  }

  /** To be called often: asks the file system from time to time. */
  tick(): void {
    const { clock, space, logger } = this.#options;
    this.#look();
    const nowMs = clock.monotonicMs();
    if (this.#isChecking || nowMs < this.#nextCheckMs) return;
    this.#isChecking = true;
    this.#nextCheckMs = nowMs + DISK_SPACE_CHECK_MS;
    space().then(
      ({ freeBytes, totalBytes }) => {
        this.#isChecking = false;
        const reserveBytes = Math.min(MAX_LOG_RESERVE_BYTES, totalBytes / LOG_RESERVE_PARTS);
        const leftBytes = freeBytes - reserveBytes;
        this.#reserveBytes = reserveBytes;
        this.#leftThenBytes = leftBytes;
        this.#appendedThenBytes = this.#tally.appendedBytes;
        // Some more than the reserve must be free again before it counts as over.
        this.#fillingBytes = Math.min(MAX_FILLING_BYTES, totalBytes / FILLING_PARTS);
        const thresholdBytes = this.#fillingBytes * (this.#isFilling ? FILLING_OVER_FACTOR : 1);
        this.#setFilling(leftBytes < thresholdBytes);
        this.#setLow(leftBytes <= (this.#isLow ? reserveBytes / 2 : 0));
        this.#judgeSpares();
        this.#isSpent = leftBytes <= (this.#isSpent ? -reserveBytes / 4 : -reserveBytes / 2);
      },
      (error: unknown) => {
        this.#isChecking = false;
        logger.warn('replication.disk-space-unknown', { reason: describeError(error) });
      },
    );
  }

  /**
   * Nothing is kept where so little is left that what may be kept would make the disk count as filling, or almost: so it
   * has been given back by the time that it does.
   */
  #judgeSpares(): void {
    const { spares } = this.#options;
    if (spares === undefined) return;
    const enoughBytes = this.#fillingBytes * FILLING_OVER_FACTOR + spares.limitBytes;
    const maySpare = this.#leftBytes >= (this.#maySpare ? enoughBytes : enoughBytes + spares.limitBytes);
    if (maySpare === this.#maySpare) return;
    this.#maySpare = maySpare;
    // Removing a file never fails here.
    void spares.allow(maySpare);
  }

  #setFilling(isFilling: boolean): void {
    if (isFilling === this.#isFilling) return;
    this.#isFilling = isFilling;
    const fields = { leftBytes: this.#leftBytes };
    this.#options.logger.warn(
      isFilling ? 'replication.disk-filling' : 'replication.disk-not-filling',
      fields,
    );
  }

  #setLow(isLow: boolean): void {
    if (isLow === this.#isLow) return;
    this.#isLow = isLow;
    const { logger, counters } = this.#options;
    if (isLow) {
      counters.add('replication.disk-low');
      logger.error('replication.disk-low', { reason: 'only the reserve is left: clients are refused space' });
    } else {
      logger.info('replication.disk-not-low');
    }
  }
}
