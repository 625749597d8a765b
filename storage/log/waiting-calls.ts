import type { AppendedRecords } from '../../base/record-log.ts';

/** Calls of a log that wait for their turn in one of its lanes. */

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

/** What the next index is once all of these are done, given what it is before. */
export function nextIndexAfterAll(calls: readonly (WaitingAppend | WaitingTask)[], before: number): number {
  return calls.reduce(
    (next, call) => (call.kind === 'append' ? next + call.records.length : call.nextIndexAfter(next)),
    before,
  );
}

/** A call that waits until everything is durable that the calls before it have written. */
export interface WaitingSync {
  /** Calls that had entered the write lane when it came. */
  readonly afterCalls: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
