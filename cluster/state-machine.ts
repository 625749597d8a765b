import type { CancelTimer, Timers } from '../base/clock.ts';
import { describeError, invariant, OperationError } from '../base/errors.ts';
import { type AppliedState, type AppliedStore, NoSpaceError } from './applied-store.ts';
import { decodeCommand } from './command-codec.ts';
import { APPLIED_SPACE_RETRY_MS, APPLIED_WRITE_DELAY_MS } from './limits.ts';
import type { LogConsumer, LogEntry, LogPosition } from './log.ts';
import { pack, unpack } from './msgpack.ts';
import { failure } from './proposals.ts';
import { apply } from './state/apply.ts';
import type { CommandResult } from './state/commands.ts';
import { completeState } from './state/genesis.ts';
import type { ClusterState } from './state/model.ts';
import { NEWER_STATE, newerState, STATE_VERSIONS, type StateVersions, versionOf } from './state/versions.ts';

export interface StateMachineContext {
  readonly timers: Timers;
  /** Default: those of this program. */
  readonly versions?: StateVersions;
  /** Everything up to `position` is on stable storage. */
  readonly persisted: (position: LogPosition) => void;
  /** Raft ids of those that have votes as of what is applied; undefined: not known at the moment. */
  readonly voters?: () => readonly number[] | undefined;
  /** There is no space for what was applied; it is tried again until there is. Called once for each such time. */
  readonly diskFull?: () => void;
  /** The disk has failed, or the log holds what only a newer program knows: nothing more is applied. */
  readonly failed: (error: unknown) => void;
}

const NOTHING = { state: undefined, position: 0 } as const;

/**
 * The replicated configuration as a consumer of the log: applied in memory at once, on disk a moment later. What
 * is on disk is only a head start for the next start, since the log is durable already.
 */
export class StateMachine implements LogConsumer {
  readonly #store: AppliedStore;
  readonly #context: StateMachineContext;
  readonly #versions: StateVersions;
  #current: AppliedState;
  #persisted: { readonly state: ClusterState | undefined; readonly position: number };
  /** Raft ids of those that had votes as of what was read from disk; none: not known. */
  readonly votersRead: readonly number[];
  #persisting: Promise<void> | undefined;
  /** The last write found no space. */
  #isFull = false;
  #cancelDelay: CancelTimer | undefined;
  #stopped = false;
  readonly #listeners = new Set<(state: ClusterState) => void>();
  readonly #waiting = new Set<{ readonly position: LogPosition; readonly reached: () => void }>();
  /** Results of entries for which an append of this process waits. */
  readonly #results = new Map<LogPosition, CommandResult>();
  #snapshot: { readonly position: LogPosition; readonly bytes: Uint8Array } | undefined;

  private constructor(
    store: AppliedStore,
    loaded: AppliedState | undefined,
    genesis: ClusterState,
    context: StateMachineContext,
  ) {
    this.#store = store;
    this.#context = context;
    this.#versions = context.versions ?? STATE_VERSIONS;
    this.#current = loaded ?? { state: genesis, position: 0 };
    this.#persisted = loaded ?? NOTHING;
    this.votersRead = loaded?.voters ?? [];
  }

  /** @throws OperationError code "newer-state" when what is there was made by a newer program */
  static async load(
    store: AppliedStore,
    genesis: ClusterState,
    context: StateMachineContext,
  ): Promise<StateMachine> {
    const machine = new StateMachine(store, await store.load(), genesis, context);
    machine.#checkKnown(machine.state);
    return machine;
  }

  get position(): LogPosition {
    return this.#persisted.position;
  }

  get appliedPosition(): LogPosition {
    return this.#current.position;
  }

  get state(): ClusterState {
    return this.#current.state;
  }

  apply(entries: readonly LogEntry[], upTo: LogPosition): void {
    this.#unlessNewer(() => {
      for (const { position, bytes, awaited } of entries) {
        const { state, result } = apply(this.#current.state, decodeCommand(bytes, this.#versions));
        this.#checkKnown(state);
        const changed = state !== this.#current.state;
        this.#current = { state, position };
        if (awaited) this.#results.set(position, result);
        if (changed) this.#announce();
      }
      this.#moveTo({ state: this.#current.state, position: upTo });
    });
  }

  /** What is too new for this program cannot be passed over, as others do not: it goes no further. */
  #unlessNewer(act: () => void): void {
    if (this.#stopped) return;
    try {
      act();
    } catch (error) {
      if (!(error instanceof OperationError) || error.code !== NEWER_STATE) throw error;
      this.#stopped = true;
      this.#context.failed(error);
    }
  }

  #checkKnown(state: ClusterState): void {
    const { newest } = this.#versions;
    const version = versionOf(state);
    if (version > newest) throw newerState('what all nodes have agreed on', version, newest);
  }

  snapshot(): Uint8Array | undefined {
    if (this.#stopped) return undefined;
    const { state, position } = this.#current;
    if (this.#snapshot?.position !== position) this.#snapshot = { position, bytes: pack(state) };
    return this.#snapshot.bytes;
  }

  restore(snapshot: Uint8Array, position: LogPosition): void {
    this.#unlessNewer(() => {
      const state = completeState(unpack(snapshot) as ClusterState);
      invariant(state.clusterId === this.#current.state.clusterId, 'the snapshot is of this cluster');
      this.#checkKnown(state);
      this.#moveTo({ state, position });
      this.#announce();
    });
  }

  #moveTo(next: AppliedState): void {
    this.#current = next;
    for (const waiter of this.#waiting) {
      if (waiter.position > next.position) continue;
      this.#waiting.delete(waiter);
      waiter.reached();
    }
    this.#persistSoon();
  }

  /** Changes that come within the delay share one write, so that no write of the log waits for the same disk. */
  #persistSoon(): void {
    if (this.#cancelDelay !== undefined || this.#persisting !== undefined || this.#stopped) return;
    const delayMs = this.#isFull ? APPLIED_SPACE_RETRY_MS : APPLIED_WRITE_DELAY_MS;
    this.#cancelDelay = this.#context.timers.setTimer(delayMs, () => {
      this.#cancelDelay = undefined;
      this.#persisting = this.#persist().finally(() => {
        this.#persisting = undefined;
        if (this.#persisted.position !== this.#current.position) this.#persistSoon();
      });
    });
  }

  #announce(): void {
    for (const listener of this.#listeners) listener(this.#current.state);
  }

  async #persist(): Promise<void> {
    const target = this.#current;
    const voters = this.#context.voters?.();
    try {
      if (this.#isFull) this.#persisted = (await this.#store.reopen()) ?? NOTHING;
      await this.#store.write(this.#persisted.state, {
        ...target,
        ...(voters === undefined ? {} : { voters }),
      });
      this.#isFull = false;
      this.#persisted = target;
      this.#context.persisted(target.position);
    } catch (error) {
      if (error instanceof NoSpaceError) {
        if (!this.#isFull) this.#context.diskFull?.();
        this.#isFull = true;
        return;
      }
      this.#stopped = true;
      this.#context.failed(
        new Error(`the applied state cannot be written: ${describeError(error)}`, { cause: error }),
      );
    }
  }

  /**
   * The result of the entry at `position`, for the append that waited for it.
   * @throws OperationError kind "unknown-outcome" when this machine stopped before it
   */
  takeResult(position: LogPosition): CommandResult {
    const result = this.#results.get(position);
    this.#results.delete(position);
    if (result === undefined && this.#stopped) {
      throw failure('unknown-outcome', 'stopping', 'this node is stopping; the change may have been made');
    }
    invariant(result !== undefined, `the entry at ${position} has a result`);
    return result;
  }

  subscribe(listener: (state: ClusterState) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Calls `reached` once everything up to `position` has been applied; the returned function takes it back. */
  whenApplied(position: LogPosition, reached: () => void): () => void {
    if (this.#current.position >= position) {
      reached();
      return () => {};
    }
    const waiter = { position, reached };
    this.#waiting.add(waiter);
    return () => {
      this.#waiting.delete(waiter);
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelDelay?.();
    await this.#persisting;
  }
}
