import type { CancelTimer, Timers } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ClusterState } from '../cluster/state/model.ts';
import { LAST_RENEWAL_MS, LIFE_RENEWAL_MS } from './limits.ts';

export interface LifeRenewalOptions {
  readonly nodeId: string;
  readonly state: () => ClusterState;
  /** Where the logs of groups end here. */
  readonly groups: () => Promise<readonly { readonly id: string; readonly nextIndex: number }[]>;
  /** See ClusterNode. */
  readonly renewLives: (groups: readonly string[]) => Promise<void>;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * Begins other lives of the directories that are written to, so that a copy made while the process runs is told from the present
 * one when it is put back (docs/adr/0027): every half a minute, and where this node's copy is the last in sync, once more when
 * it stops.
 */
export class LifeRenewal {
  readonly #options: LifeRenewalOptions;
  /** Where logs ended when lives were begun last. */
  readonly #ends = new Map<string, number>();
  #cancel: CancelTimer = () => {};
  #isStopped = false;

  constructor(options: LifeRenewalOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#cancel = this.#options.timers.setTimer(LIFE_RENEWAL_MS, () => {
      void this.#renew(() => true).then(() => this.start());
    });
  }

  /** What is written from now on is not told apart any more. Resolves when that is known to the cluster, or has taken too long. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    const { timers, nodeId } = this.#options;
    const tooLong = new Promise<void>((resolve) => {
      this.#cancel = timers.setTimer(LAST_RENEWAL_MS, resolve);
    });
    // Groups that others have go on with these.
    const isLast = (id: string): boolean => {
      const members = this.#options.state().portalGroups[id]?.inSync ?? [];
      return members.length === 1 && members[0]?.nodeId === nodeId;
    };
    await Promise.race([this.#renew(isLast), tooLong]);
    this.#cancel();
  }

  async #renew(isMeant: (groupId: string) => boolean): Promise<void> {
    const { groups, renewLives, logger } = this.#options;
    try {
      const written = (await groups()).filter(
        ({ id, nextIndex }) => isMeant(id) && this.#ends.get(id) !== nextIndex,
      );
      for (const { id, nextIndex } of written) this.#ends.set(id, nextIndex);
      if (written.length > 0) await renewLives(written.map(({ id }) => id));
    } catch (error) {
      // Tried again in half a minute, where more has been written.
      logger.warn('replication.lives-not-renewed', { reason: describeError(error) });
    }
  }
}
