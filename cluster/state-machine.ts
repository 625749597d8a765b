import type { CancelTimer, Timers } from '../base/clock.ts';
import { describeError, invariant, ProtocolError } from '../base/errors.ts';
import type { AppliedState, AppliedStore } from './applied-store.ts';
import { APPLIED_WRITE_DELAY_MS } from './limits.ts';
import type { LogConsumer, LogEntry, LogPosition } from './log.ts';
import { pack, unpack } from './msgpack.ts';
import { apply } from './state/apply.ts';
import type { Command, CommandResult } from './state/commands.ts';
import { completeState } from './state/genesis.ts';
import type { ClusterState } from './state/model.ts';

export function encodeCommand(command: Command): Uint8Array {
  return pack(command);
}

/** What is not even MessagePack becomes a command of no type, which apply refuses alike everywhere. */
export function decodeCommand(bytes: Uint8Array): Command {
  try {
    return unpack(bytes) as Command;
  } catch (error) {
    if (error instanceof ProtocolError) return { type: 'undecodable' } as unknown as Command;
    throw error;
  }
}

export interface StateMachineContext {
  readonly timers: Timers;
  /** Everything up to `position` is on stable storage. */
  readonly persisted: (position: LogPosition) => void;
  readonly failed: (error: unknown) => void;
}

/**
 * The replicated configuration as a consumer of the log: applied in memory at once, on disk a moment later. What
 * is on disk is only a head start for the next start, since the log is durable already.
 */
export class StateMachine implements LogConsumer {
  readonly #store: AppliedStore;
  readonly #context: StateMachineContext;
  #current: AppliedState;
  #persisted: { readonly state: ClusterState | undefined; readonly position: number };
  #persisting: Promise<void> | undefined;
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
    this.#current = loaded ?? { state: genesis, position: 0 };
    this.#persisted = loaded ?? { state: undefined, position: 0 };
  }

  static async load(
    store: AppliedStore,
    genesis: ClusterState,
    context: StateMachineContext,
  ): Promise<StateMachine> {
    return new StateMachine(store, await store.load(), genesis, context);
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
    for (const { position, bytes, awaited } of entries) {
      const { state, result } = apply(this.#current.state, decodeCommand(bytes));
      const changed = state !== this.#current.state;
      this.#current = { state, position };
      if (awaited) this.#results.set(position, result);
      if (changed) this.#announce();
    }
    this.#moveTo({ state: this.#current.state, position: upTo });
  }

  snapshot(): Uint8Array | undefined {
    const { state, position } = this.#current;
    if (this.#snapshot?.position !== position) this.#snapshot = { position, bytes: pack(state) };
    return this.#snapshot.bytes;
  }

  restore(snapshot: Uint8Array, position: LogPosition): void {
    const state = completeState(unpack(snapshot) as ClusterState);
    invariant(state.clusterId === this.#current.state.clusterId, 'the snapshot is of this cluster');
    this.#moveTo({ state, position });
    this.#announce();
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
    this.#cancelDelay = this.#context.timers.setTimer(APPLIED_WRITE_DELAY_MS, () => {
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
    try {
      await this.#store.write(this.#persisted.state, target);
      this.#persisted = target;
      this.#context.persisted(target.position);
    } catch (error) {
      this.#stopped = true;
      this.#context.failed(
        new Error(`the applied state cannot be written: ${describeError(error)}`, { cause: error }),
      );
    }
  }

  /** The result of the entry at `position`, for the append that waited for it. */
  takeResult(position: LogPosition): CommandResult {
    const result = this.#results.get(position);
    this.#results.delete(position);
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
