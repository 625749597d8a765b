import type { CancelTimer, Timers } from '../../base/clock.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { ImageVersionRef } from './image-source.ts';
import type { ImageStore } from './image-store.ts';
import { REMOVAL_RETRY_MS } from './limits.ts';

export interface RemovedImagesOptions {
  readonly images: Pick<ImageStore, 'versions' | 'remove'>;
  /** Whether that version is being written to just now; it is looked at again after that. */
  readonly isBusy: (ref: ImageVersionRef) => boolean;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * Gives back the files of image versions that the cluster has removed: whenever some are, and at start, for those that were
 * removed while this node was down. What the cluster does not know stays.
 */
export class RemovedImages {
  readonly #options: RemovedImagesOptions;
  #isRemoved: (ref: ImageVersionRef) => boolean = () => false;
  #sweeping: Promise<void> | undefined;
  #again = false;
  #isStopped = false;
  #cancelRetry: CancelTimer | undefined;

  constructor(options: RemovedImagesOptions) {
    this.#options = options;
  }

  /** Looks through what is here, by what the cluster knows now. */
  sweep(isRemoved: (ref: ImageVersionRef) => boolean): void {
    this.#isRemoved = isRemoved;
    this.#again = true;
    if (this.#isStopped) return;
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
  }

  /** Resolves when nothing is being removed any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRetry?.();
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { images, isBusy, timers, logger } = this.#options;
    while (this.#again && !this.#isStopped) {
      this.#again = false;
      try {
        for (const ref of await images.versions()) {
          if (this.#isStopped) return;
          if (!this.#isRemoved(ref) || isBusy(ref)) continue;
          await images.remove(ref);
          logger.info('image.removed', { ...ref });
        }
      } catch (error) {
        logger.warn('image.not-removed', { error: describeError(error) });
        this.#cancelRetry?.();
        this.#cancelRetry = timers.setTimer(REMOVAL_RETRY_MS, () => this.sweep(this.#isRemoved));
      }
    }
  }
}
