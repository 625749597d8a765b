import type { CancelTimer, Clock, Timers } from '../base/clock.ts';
import { describeError, invariant } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { LogFullError } from '../base/record-log.ts';
import { type DiskLatency, LatencyWindow } from './disk-latency.ts';
import { DISK_FULL_RETRY_MS, MAX_WAITING_WRITES } from './limits.ts';
import type { Message, Snapshot } from './raft/index.ts';
import type { RaftStore, StorageWrite } from './raft-store.ts';

/**
 * Carries out Raft's writes one group after another: what arrives while a group is being written makes up
 * the next one, so any number of writes share an fsync. Nothing a write promises is said before it is durable.
 */
export class AppendThread {
  readonly #store: RaftStore;
  readonly #context: { readonly clock: Clock; readonly timers: Timers; readonly logger: Logger };
  readonly #onReceived: (snapshot: Snapshot) => void;
  readonly #onWritten: (responses: readonly Message[]) => void;
  readonly #onFailed: (error: unknown) => void;
  #waiting: Message[] = [];
  #running: Promise<void> | undefined;
  /** When the group being written was begun. */
  #sinceMs: number | undefined;
  readonly #latency = new LatencyWindow();
  #cancelRetry: CancelTimer = () => {};
  #stopped = false;

  /**
   * @param onReceived a snapshot is on stable storage, before its write is answered
   * @param onFailed the device failed; nothing will be written any more
   */
  constructor(
    store: RaftStore,
    context: { readonly clock: Clock; readonly timers: Timers; readonly logger: Logger },
    on: {
      readonly received: (snapshot: Snapshot) => void;
      readonly written: (responses: readonly Message[]) => void;
      readonly failed: (error: unknown) => void;
    },
  ) {
    this.#store = store;
    this.#context = context;
    this.#onReceived = on.received;
    this.#onWritten = on.written;
    this.#onFailed = on.failed;
  }

  /** When the oldest write under way was begun; undefined: none is. */
  get underWaySinceMs(): number | undefined {
    return this.#sinceMs;
  }

  /** How long the oldest write under way has been waiting for the disk. */
  stalledMs(): number {
    return this.#sinceMs === undefined ? 0 : this.#context.clock.monotonicMs() - this.#sinceMs;
  }

  latency(): DiskLatency {
    return this.#latency.summary(this.stalledMs());
  }

  push(write: Message): void {
    invariant(
      this.#waiting.length < MAX_WAITING_WRITES,
      'Raft has more writes waiting than its bounds allow',
    );
    if (this.#stopped) return;
    this.#waiting.push(write);
    this.#running ??= this.#run();
  }

  /** Ends after the group being written; what waits is dropped, as by a crash. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && !this.#stopped) {
        const group = this.#waiting;
        this.#waiting = [];
        this.#sinceMs = this.#context.clock.monotonicMs();
        await this.#write(group, this.#sinceMs);
        this.#sinceMs = undefined;
      }
    } catch (error) {
      this.#stopped = true;
      this.#onFailed(error);
    } finally {
      this.#running = undefined;
    }
  }

  async #write(group: readonly Message[], sinceMs: number): Promise<void> {
    const durable = group.some(({ responses = [] }) => responses.length > 0);
    const writes = group.map(asWrite);
    let outcome = await this.#persisted(writes, durable);
    while (outcome === 'full') {
      if (this.#stopped) return;
      outcome = await this.#persisted(writes, durable);
    }
    // An answer that rests on nothing new says nothing about the disk.
    if (outcome === 'synced') this.#latency.add(this.#context.clock.monotonicMs() - sinceMs);
    if (this.#stopped) return;
    for (const { snapshot } of writes) if (snapshot !== undefined) this.#onReceived(snapshot);
    this.#onWritten(group.flatMap(({ responses = [] }) => responses));
  }

  /** @returns "full" when there was no space, after a while; "synced" when it took an fsync */
  async #persisted(writes: readonly StorageWrite[], durable: boolean): Promise<'full' | 'synced' | 'kept'> {
    try {
      return (await this.#store.persist(writes, durable)) ? 'synced' : 'kept';
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      this.#context.logger.error('cluster.log.full', { message: describeError(error) });
      await new Promise<void>((resolve) => {
        const cancel = this.#context.timers.setTimer(DISK_FULL_RETRY_MS, resolve);
        this.#cancelRetry = () => {
          cancel();
          resolve();
        };
      });
      return 'full';
    }
  }
}

function asWrite({ entries = [], snapshot, term, vote = 0, commit = 0 }: Message): StorageWrite {
  return {
    entries,
    ...(snapshot === undefined ? {} : { snapshot }),
    // A write without a term leaves the hard state as it is.
    ...(term === undefined ? {} : { hardState: { term, vote, commit } }),
  };
}
