import type { CancelTimer, Clock, Timers } from '../../base/clock.ts';
import type { Counters } from '../../base/counters.ts';
import { describeError, invariant } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { BootFileStore } from './boot-file-store.ts';
import { type ContentFetcher, fetchFromAny } from './content-fetcher.ts';
import { sha256Hex } from './content-hash.ts';
import { ImageReceiver } from './image-receiver.ts';
import type { ImageVersionRef } from './image-source.ts';
import type { ImageStore } from './image-store.ts';
import { BOOT_FILE_KEPT_MS } from './limits.ts';
import { RemovedImages } from './removed-images.ts';
import {
  type ContentItem,
  decideReplication,
  failed,
  held,
  type ItemState,
  itemKey,
  itemsOf,
  type WantedContent,
  working,
} from './replication-decision.ts';

const NOTHING: WantedContent = { images: [], bootFiles: [] };

export interface ContentReplicatorOptions {
  readonly nodeId: string;
  readonly images: ImageStore;
  readonly bootFiles: BootFileStore;
  readonly fetcher: ContentFetcher;
  /** Tells the cluster that this node holds something; rejects when it is not known to have been told. */
  readonly held: (item: ContentItem) => Promise<void>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: Counters;
}

/** For people: one thing this node is to hold. */
export interface ContentStatus {
  readonly item: ContentItem;
  readonly phase: 'waiting' | 'working' | 'failed' | 'held';
  /** Images being fetched: chunks verified, of those that are stored at all. */
  readonly doneChunks?: number;
  readonly totalChunks?: number;
  readonly lastError?: string;
}

/** Keeps this node's stores holding everything the cluster wants held. */
export class ContentReplicator {
  readonly #options: ContentReplicatorOptions;
  readonly #receiver: ImageReceiver;
  readonly #abort = new AbortController();
  readonly #removed: RemovedImages;
  #wanted: WantedContent | undefined;
  readonly #states = new Map<string, ItemState>();
  readonly #progress = new Map<string, { doneChunks: number; totalChunks: number }>();
  readonly #errors = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();
  #cancelWake: CancelTimer | undefined;
  /** Contents of boot files that nothing is known of any more, each with what ends its time here. */
  readonly #leaving = new Map<string, CancelTimer>();

  constructor(options: ContentReplicatorOptions) {
    this.#options = options;
    const { images: store, fetcher, logger, counters } = options;
    this.#receiver = new ImageReceiver({ store, fetcher, logger, counters });
    const isBusy = ({ name, version }: ImageVersionRef): boolean =>
      [...this.#states].some(
        ([key, { phase }]) => phase === 'working' && key.startsWith(`image/${name}/${version}/`),
      );
    this.#removed = new RemovedImages({ images: store, isBusy, timers: options.timers, logger });
  }

  /** Takes what is wanted from now on; cheap to call with every change of the cluster's state. */
  update(wanted: WantedContent): void {
    this.#followBootFiles(wanted);
    const before = this.#wanted;
    this.#wanted = wanted;
    const { isRemoved } = wanted;
    const isNews = before === undefined || before.images.some((image) => isRemoved?.(image) === true);
    if (isRemoved !== undefined && isNews) this.#removed.sweep(isRemoved);
    const keys = new Set(itemsOf(wanted).map(itemKey));
    for (const [key, state] of this.#states) {
      if (!keys.has(key) && state.phase !== 'working') this.#forget(key);
    }
    this.#decide();
  }

  status(): ContentStatus[] {
    return itemsOf(this.#wanted ?? NOTHING).map((item) => {
      const key = itemKey(item);
      const lastError = this.#errors.get(key);
      return {
        item,
        phase: this.#states.get(key)?.phase ?? 'waiting',
        ...this.#progress.get(key),
        ...(lastError === undefined ? {} : { lastError }),
      };
    });
  }

  /** Starts nothing more; resolves once what is under way has ended. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelWake?.();
    for (const cancel of this.#leaving.values()) cancel();
    await Promise.all([...this.#running, this.#removed.stop()]);
  }

  /** What was known and is known no more is removed after a while; what a start finds here is left alone. */
  #followBootFiles({ bootFiles }: WantedContent): void {
    const known = new Set(bootFiles.map(({ sha256 }) => sha256));
    for (const { sha256 } of this.#wanted?.bootFiles ?? []) {
      if (known.has(sha256) || this.#leaving.has(sha256)) continue;
      const remove = (): void => void this.#removeBootFile(sha256);
      this.#leaving.set(sha256, this.#options.timers.setTimer(BOOT_FILE_KEPT_MS, remove));
    }
    for (const [sha256, cancel] of this.#leaving) {
      if (!known.has(sha256)) continue;
      cancel();
      this.#leaving.delete(sha256);
    }
  }

  async #removeBootFile(sha256: string): Promise<void> {
    this.#leaving.delete(sha256);
    const { bootFiles, logger } = this.#options;
    try {
      await bootFiles.remove(sha256);
      logger.info('boot-file.removed', { sha256 });
    } catch (error) {
      logger.warn('boot-file.not-removed', { sha256, error: describeError(error) });
    }
  }

  #decide(): void {
    if (this.#abort.signal.aborted) return;
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    const { start, wakeAtMs } = decideReplication(this.#wanted ?? NOTHING, this.#states, nowMs);
    for (const item of start) this.#start(item);
    if (wakeAtMs === undefined) return;
    this.#cancelWake = this.#options.timers.setTimer(wakeAtMs - nowMs, () => this.#decide());
  }

  #start(item: ContentItem): void {
    const key = itemKey(item);
    this.#states.set(key, working(item, this.#states.get(key)));
    const run = this.#work(item, key).finally(() => {
      this.#running.delete(run);
      this.#noteOutcome(item, key);
      this.#decide();
    });
    this.#running.add(run);
  }

  async #work(item: ContentItem, key: string): Promise<void> {
    const { clock, logger, counters } = this.#options;
    let after: (before: ItemState) => ItemState = held;
    try {
      await this.#bring(item, key);
      if (!item.holders.includes(this.#options.nodeId)) await this.#options.held(item);
      this.#errors.delete(key);
    } catch (error) {
      after = (before) => failed(before, clock.monotonicMs());
      this.#errors.set(key, describeError(error));
      counters.add('content.failed');
      logger.warn('content.failed', { key, error: describeError(error) });
    }
    this.#progress.delete(key);
    const before = this.#states.get(key);
    invariant(before?.phase === 'working', `${key} is being worked on`);
    this.#states.set(key, after(before));
  }

  async #bring(item: ContentItem, key: string): Promise<void> {
    const { nodeId, images, bootFiles, fetcher, counters } = this.#options;
    const holders = item.holders.filter((holder) => holder !== nodeId);
    if (item.kind === 'image') {
      if (await images.holds(item, item.manifestSha256)) return;
      if (await images.adoptOrphan(item, item.manifestSha256)) return;
      await this.#receiver.receive(
        { ...item, holders },
        {
          onProgress: (doneChunks, totalChunks) => this.#progress.set(key, { doneChunks, totalChunks }),
          signal: this.#abort.signal,
        },
      );
      return;
    }
    if ((await bootFiles.get(item.sha256)) !== undefined) return;
    const content = await fetchFromAny({
      holders,
      startAt: 0,
      what: `boot file ${item.name}`,
      fetch: (from) => fetcher.bootFile(from, item.name, item.sha256),
      isSound: async (input) => (await sha256Hex(input)) === item.sha256,
      onRefused: (_, error) => counters.add(error === undefined ? 'boot-file.damaged' : 'boot-file.failed'),
    });
    await bootFiles.put(item.name, content);
  }

  /** The cluster may have removed meanwhile what was being brought. */
  #noteOutcome(item: ContentItem, key: string): void {
    const isRemoved = this.#wanted?.isRemoved;
    if (item.kind !== 'image' || isRemoved?.(item) !== true) return;
    this.#forget(key);
    this.#removed.sweep(isRemoved);
  }

  #forget(key: string): void {
    this.#states.delete(key);
    this.#errors.delete(key);
  }
}
