import type { CancelTimer, Timers } from '../base/clock.ts';
import { OperationError, type OperationErrorKind } from '../base/errors.ts';
import { layout, u32, u64 } from '../base/layout.ts';
import type { RandomSource } from '../base/random.ts';
import {
  MAX_COMMAND_BYTES,
  MAX_PENDING_PROPOSAL_BYTES,
  MAX_PENDING_PROPOSALS,
  PROPOSAL_TIMEOUT_MS,
} from './limits.ts';
import type { LogPosition } from './log.ts';

/** In front of every entry's content: who waits for it. */
export const proposalHeader = layout('proposal header', 20, {
  raftId: u32(0),
  /** Differs at each start of the node. */
  start: u64(4),
  counter: u64(12),
});

interface Pending {
  /** The term in which alone the entry can have been taken into the log. */
  readonly term: number;
  readonly sizeBytes: number;
  readonly resolve: (position: LogPosition) => void;
  readonly reject: (error: OperationError) => void;
  readonly cancelTimer: CancelTimer;
}

/**
 * The proposals of this process that have been handed to a leader. Each is tied to the term of that leader: it
 * is refused in any other, so once an entry of a later term has been applied, one that has not been seen by
 * then never will be.
 */
export class Proposals {
  readonly #raftId: number;
  readonly #start: bigint;
  readonly #timers: Timers;
  readonly #pending = new Map<bigint, Pending>();
  #pendingBytes = 0;
  #nextCounter = 1n;

  constructor(raftId: number, random: RandomSource, timers: Timers) {
    this.#raftId = raftId;
    this.#start = Buffer.from(random.bytes(8)).readBigUInt64BE();
    this.#timers = timers;
  }

  /** Gives a proposal its header. @throws OperationError when it is too large, or too many are under way */
  wrap(bytes: Uint8Array): { readonly counter: bigint; readonly data: Uint8Array } {
    if (bytes.length > MAX_COMMAND_BYTES) {
      throw new OperationError(`a command of ${bytes.length} bytes`, {
        kind: 'too-large',
        code: 'command-too-large',
        got: bytes.length,
        accepted: `at most ${MAX_COMMAND_BYTES} bytes`,
      });
    }
    if (this.#pending.size >= MAX_PENDING_PROPOSALS) {
      throw failure('unavailable', 'queue-full', `${MAX_PENDING_PROPOSALS} changes are under way already`);
    }
    if (this.#pendingBytes + bytes.length > MAX_PENDING_PROPOSAL_BYTES) {
      const held = `changes of ${this.#pendingBytes} bytes are under way already`;
      throw failure('unavailable', 'queue-full', `${held}; ${MAX_PENDING_PROPOSAL_BYTES} at most`);
    }
    const counter = this.#nextCounter;
    this.#nextCounter += 1n;
    const data = new Uint8Array(proposalHeader.sizeBytes + bytes.length);
    proposalHeader.encode({ raftId: this.#raftId, start: this.#start, counter }, data);
    data.set(bytes, proposalHeader.sizeBytes);
    return { counter, data };
  }

  /** Waits for a proposal handed to the leader of `term`. @param sizeBytes of its content */
  async outcome(counter: bigint, term: number, sizeBytes = 0): Promise<LogPosition> {
    this.#pendingBytes += sizeBytes;
    return await new Promise((resolve, reject) => {
      const cancelTimer = this.#timers.setTimer(PROPOSAL_TIMEOUT_MS, () => {
        const message = `the cluster has not agreed within ${PROPOSAL_TIMEOUT_MS} ms`;
        this.fail(counter, 'unknown-outcome', 'timed-out', message);
      });
      this.#pending.set(counter, { term, sizeBytes, resolve, reject, cancelTimer });
    });
  }

  #take(counter: bigint): Pending | undefined {
    const pending = this.#pending.get(counter);
    this.#pending.delete(counter);
    this.#pendingBytes -= pending?.sizeBytes ?? 0;
    pending?.cancelTimer();
    return pending;
  }

  fail(counter: bigint, kind: OperationErrorKind, code: string, message: string): void {
    this.#take(counter)?.reject(failure(kind, code, message));
  }

  /** @returns the counter of the proposal in `data`, when somebody here waits for it */
  awaited(data: Uint8Array): bigint | undefined {
    if (data.length < proposalHeader.sizeBytes) return undefined;
    const { raftId, start, counter } = proposalHeader.decode(data);
    const ours = raftId === this.#raftId && start === this.#start && this.#pending.has(counter);
    return ours ? counter : undefined;
  }

  applied(counter: bigint, position: LogPosition): void {
    this.#take(counter)?.resolve(position);
  }

  /** An entry of `term` has been applied: what was proposed in an earlier term is not going to be. */
  reachedTerm(term: number): void {
    for (const [counter, pending] of this.#pending) {
      if (pending.term >= term) continue;
      this.fail(
        counter,
        'unavailable',
        'leader-lost',
        'the leader was lost before it took the change; ask again',
      );
    }
  }

  /** A snapshot of `term` has taken the place of entries that nobody here has seen one by one. */
  skippedTo(term: number): void {
    for (const [counter, pending] of this.#pending) {
      if (pending.term > term) continue;
      this.fail(
        counter,
        'unknown-outcome',
        'skipped',
        'this node fell behind while the change was under way',
      );
    }
  }

  stop(): void {
    for (const counter of this.#pending.keys()) {
      this.fail(counter, 'unknown-outcome', 'stopping', 'this node is stopping');
    }
  }
}

export function failure(kind: OperationErrorKind, code: string, message: string): OperationError {
  return new OperationError(message, { kind, code });
}

/** Nobody decides at the moment, for want of a majority; where there is one, not for long. */
export function noLeader(message: string): OperationError {
  const accepted = 'more than half of the voting nodes up and connected; "bootfabric status" tells which are';
  return new OperationError(message, { kind: 'unavailable', code: 'no-leader', accepted });
}
