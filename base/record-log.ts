/**
 * The port behind which both replicated logs keep their records (implemented in storage/log, used by cluster
 * and by replication). Records are numbered without gaps; numbers are safe integers.
 *
 * Calls may overlap; the log carries them out in the order of the calls. Once a call has failed with
 * LogFailure, every later one fails with it too: after a failed fsync nothing about the file is known, and
 * the only way on is to end the process.
 */
export interface RecordLog {
  /** Number of the oldest record kept; equals nextIndex when there is none. */
  readonly firstIndex: number;
  /** Number the next appended record will get. */
  readonly nextIndex: number;
  /** Every record below this is on stable storage. */
  readonly durableNextIndex: number;
  /**
   * Adds records at the end; resolves once they are written to the operating system (not yet durable).
   * @param checksums CRC32C of each record, where the caller knows it. A wrong one makes a record that cannot be read.
   * @throws LogFullError when the file system is full; nothing was added and the log stays usable
   * @throws LogFailure when the device failed
   */
  append(
    records: readonly Uint8Array[],
    checksums?: readonly (number | undefined)[],
  ): Promise<AppendedRecords>;
  /**
   * The same as append, done before it returns.
   * @returns undefined where that cannot be, or not without a wait that may be long; nothing was added then
   * @throws LogFailure when the device failed
   */
  appendNow?(
    records: readonly Uint8Array[],
    checksums?: readonly (number | undefined)[],
  ): AppendedRecords | undefined;
  /** Makes everything appended before the call durable; concurrent calls share one fdatasync. */
  sync(): Promise<void>;
  /**
   * One record's payload, its checksum verified.
   * @throws LogCorruptionError when the bytes do not match
   */
  read(index: number): Promise<Uint8Array>;
  /** Records from `fromIndex` on, in order, until the end as of the call. */
  scan(fromIndex: number): AsyncIterable<LogRecord>;
  /**
   * Bytes of one payload already located, without verification; the caller holds its own checksums.
   * @param position as given by append or scan, plus any offset inside that payload
   */
  readAt(position: number, lengthBytes: number): Promise<Uint8Array>;
  /**
   * Fills `into` with the same before it returns.
   * @returns false where that would be a wait for a disk; what is in `into` then means nothing
   */
  readAtNow?(position: number, into: Uint8Array): boolean;
  /** Removes `index` and everything after, durably. */
  truncateFrom(index: number): Promise<void>;
  /** Forgets records before `index` where whole segments allow; never removes `index` or anything later. */
  trimBefore(index: number): Promise<void>;
  /** Drops everything and goes on at `index` (after a snapshot has replaced the content), durably. */
  resetTo(index: number): Promise<void>;
  /**
   * Has that one told of the failure as soon as it is known, by whatever it came to light: no call need be under way. Left
   * out where there is nothing that could fail by itself.
   */
  onFailure?(handler: (failure: LogFailure) => void): void;
  close(): Promise<void>;
}

export interface AppendedRecords {
  readonly firstIndex: number;
  /** Where each record's payload begins, for readAt. Positions rise with the index and are never reused. */
  readonly positions: readonly number[];
}

export interface LogRecord {
  readonly index: number;
  readonly position: number;
  readonly payload: Uint8Array;
  /** False: what follows has been read already, and comes without waiting for the file. */
  readonly isLastRead?: boolean;
  /** Only parts of the payload that have checksums of their own may be wrong, and some are. */
  readonly isDamaged?: boolean;
}

/** A log whose records can be looked after: read for damage, and put right from another copy. */
export interface MendableLog extends RecordLog {
  /**
   * Reads records from `fromIndex` to before `untilIndex`, about `maxBytes` of them, and compares checksums. Both
   * bounds lie within what is durable.
   */
  verify(fromIndex: number, untilIndex: number, maxBytes: number): Promise<VerifiedPart>;
  /** The record of which the byte at a position is, or damaged records among which it is. */
  locate(position: number): Promise<LocatedRecords | undefined>;
  /**
   * Writes damaged records anew, durably, where they were. One that is not damaged stays as it is.
   * @param payloads of the records from `firstIndex` on
   * @returns false when they do not fit where the damage is, or the records have been let go of
   * @throws LogFullError when there is no space for it; nothing has changed
   */
  mend(firstIndex: number, payloads: readonly Uint8Array[]): Promise<boolean>;
}

export interface VerifiedPart {
  /** The first record that was not looked at. */
  readonly nextIndex: number;
  readonly readBytes: number;
  readonly damaged: readonly DamagedRecords[];
}

/** Neighbouring records whose places in the log are not known apart; mostly one. */
export interface DamagedRecords {
  readonly firstIndex: number;
  /** 0: no record, but what the log keeps beside them, and mends with no payloads. */
  readonly count: number;
  readonly reason: string;
}

export interface LocatedRecords {
  readonly firstIndex: number;
  readonly count: number;
  /** Where the payload of the first begins. */
  readonly position: number;
}

/** The device or an fsync failed. Final: the process ends rather than retry. */
export class LogFailure extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LogFailure';
  }
}

/** No space for the records; nothing was added. */
export class LogFullError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LogFullError';
  }
}

/** A record before the durable end does not match its checksum. Never dropped in silence. */
export class LogCorruptionError extends Error {
  readonly segment: string;
  readonly offsetBytes: number;

  constructor(message: string, where: { segment: string; offsetBytes: number }) {
    super(message);
    this.name = 'LogCorruptionError';
    this.segment = where.segment;
    this.offsetBytes = where.offsetBytes;
  }
}
