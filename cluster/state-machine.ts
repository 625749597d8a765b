import { describeError, invariant, ProtocolError } from '../base/errors.ts';
import type { AppliedState, AppliedStore } from './applied-store.ts';
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
function decodeCommand(bytes: Uint8Array): Command {
  try {
    return unpack(bytes) as Command;
  } catch (error) {
    if (error instanceof ProtocolError) return { type: 'undecodable' } as unknown as Command;
    throw error;
  }
}

/**
 * The replicated configuration as a consumer of the log: applied in memory at once, on disk a moment later. What
 * is on disk is only a head start for the next start, since the log is durable already.
 */
export class StateMachine implements LogConsumer {
  readonly #store: AppliedStore;
  readonly #onPersisted: (position: LogPosition) => void;
  readonly #onFailed: (error: unknown) => void;
  #current: AppliedState;
  #persisted: { readonly state: ClusterState | undefined; readonly position: number };
  #persisting: Promise<void> | undefined;
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
    on: { readonly persisted: (position: LogPosition) => void; readonly failed: (error: unknown) => void },
  ) {
    this.#store = store;
    this.#onPersisted = on.persisted;
    this.#onFailed = on.failed;
    this.#current = loaded ?? { state: genesis, position: 0 };
    this.#persisted = loaded ?? { state: undefined, position: 0 };
  }

  static async load(
    store: AppliedStore,
    genesis: ClusterState,
    on: { readonly persisted: (position: LogPosition) => void; readonly failed: (error: unknown) => void },
  ): Promise<StateMachine> {
    return new StateMachine(store, await store.load(), genesis, on);
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
    this.#persisting ??= this.#persist();
  }

  #announce(): void {
    for (const listener of this.#listeners) listener(this.#current.state);
  }

  /** Writes until what is on disk is what is in memory; changes that come meanwhile share the next write. */
  async #persist(): Promise<void> {
    // In a turn of its own, so that everything applied in this one is in.
    await Promise.resolve();
    try {
      while (this.#persisted.position !== this.#current.position && !this.#stopped) {
        const target = this.#current;
        await this.#store.write(this.#persisted.state, target);
        this.#persisted = target;
        this.#onPersisted(target.position);
      }
    } catch (error) {
      this.#stopped = true;
      this.#onFailed(
        new Error(`the applied state cannot be written: ${describeError(error)}`, { cause: error }),
      );
    } finally {
      this.#persisting = undefined;
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
    await this.#persisting;
  }
}
