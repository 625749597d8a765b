/**
 * The seam under the replicated configuration: an ordered log of opaque entries that all nodes agree on.
 * The embedded Raft engine (raft-log.ts) is one such log; the state machine on top does not know.
 */

/** Place of an entry; rises along the log, not necessarily by one. 0 is before the first. */
export type LogPosition = number;

export interface LogEntry {
  readonly position: LogPosition;
  readonly bytes: Uint8Array;
  /** An append of this process waits for this very entry. */
  readonly awaited: boolean;
}

/** What is built from the log. Called in order, never two at a time. */
export interface LogConsumer {
  /** Where to go on reading from: everything up to here has been applied and survives a restart. */
  readonly position: LogPosition;
  /**
   * The next entries. Those without content are not given, but for the log having moved on to `upTo`.
   * Must not throw for any content.
   */
  apply(entries: readonly LogEntry[], upTo: LogPosition): void;
  /** Everything applied so far as one piece, for a peer that has fallen behind; undefined: not now. */
  snapshot(): Uint8Array | undefined;
  /** Takes the place of everything applied so far. */
  restore(snapshot: Uint8Array, position: LogPosition): void;
}

export interface ReplicatedLog {
  /** Begins to deliver entries to `consumer`, from its position on. */
  start(consumer: LogConsumer): Promise<void>;
  stop(): Promise<void>;
  /**
   * Adds an entry, from any node. Resolves with its place after this node's consumer has applied it.
   * @throws OperationError kind "unavailable" when it certainly never will be in the log, "unknown-outcome"
   *   when that cannot be known, "too-large"
   */
  append(bytes: Uint8Array): Promise<LogPosition>;
  /**
   * A place no earlier than that of any entry committed before the call. A consumer that has come there
   * has seen everything that anyone had been told was done.
   * @throws OperationError kind "unavailable"
   */
  tail(): Promise<LogPosition>;
  /** The consumer has everything up to `position` on stable storage; the log may forget it. */
  trim(position: LogPosition): void;
}
