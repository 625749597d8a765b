import type { CancelTimer, Timers } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { LogFullError } from '../../base/record-log.ts';
import type { MetaStore } from './group-meta.ts';
import { META_FULL_RETRY_MS } from './limits.ts';

/**
 * Waits for space instead of failing where the disk is full: until then the group's effects stand still, so that
 * nothing is said that is not on disk, and the others go on without this member.
 */
export class PatientMetaStore implements MetaStore {
  readonly #store: MetaStore;
  readonly #timers: Timers;
  readonly #logger: Logger;
  readonly #waiting = new Set<() => void>();
  #stopped = false;

  constructor(store: MetaStore, timers: Timers, logger: Logger) {
    this.#store = store;
    this.#timers = timers;
    this.#logger = logger;
  }

  load(groupId: string): Promise<Uint8Array | undefined> {
    return this.#store.load(groupId);
  }

  /** @throws LogFullError when it is stopped while there is no space; whatever else the store throws */
  async save(groupId: string, bytes: Uint8Array): Promise<void> {
    for (let isFirst = true; ; isFirst = false) {
      try {
        await this.#store.save(groupId, bytes);
        return;
      } catch (error) {
        if (!(error instanceof LogFullError) || this.#stopped) throw error;
        if (isFirst) this.#logger.error('replication.meta-full', { group: groupId });
        await this.#pause();
      }
    }
  }

  /** Lets waiting saves fail. */
  stop(): void {
    this.#stopped = true;
    for (const wake of this.#waiting) wake();
  }

  async #pause(): Promise<void> {
    let cancel: CancelTimer = () => {};
    let wake: () => void = () => {};
    await new Promise<void>((resolve) => {
      wake = resolve;
      this.#waiting.add(wake);
      cancel = this.#timers.setTimer(META_FULL_RETRY_MS, resolve);
    });
    cancel();
    this.#waiting.delete(wake);
  }
}
