import type { AppendedRecords } from '../../base/record-log.ts';

/** Calls of a log that wait for their turn in its write lane. */

export interface WaitingAppend {
  readonly kind: 'append';
  readonly records: readonly Uint8Array[];
  readonly checksums: readonly (number | undefined)[];
  readonly sizeBytes: number;
  readonly resolve: (appended: AppendedRecords) => void;
  readonly reject: (error: Error) => void;
}

/** Anything else that must happen in order with the appends. */
export interface WaitingTask {
  readonly kind: 'task';
  readonly run: () => Promise<void>;
  /** What the next index is once the task is done, given what it was before. */
  readonly nextIndexAfter: (before: number) => number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
