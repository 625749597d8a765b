import type { CancelTimer, Clock, Timers } from '../../base/clock.ts';
import type { CounterSet } from '../../base/counters.ts';
import type { Logger } from '../../base/logger.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { ImageScrub, type ScrubbedImage } from '../../storage/image/image-scrub.ts';
import type { ImagePart, ImageVersionRef } from '../../storage/image/image-source.ts';
import type { ImageStore } from '../../storage/image/image-store.ts';
import { GroupScrub } from '../../storage/replication/group-scrub.ts';
import type { PortalGroup } from '../../storage/replication/portal-group.ts';
import { DAMAGE_RETRY_MS, MAX_DAMAGE_TOLD, MAX_DAMAGED_PARTS } from '../../storage/scrub/limits.ts';
import {
  type ScrubArea,
  Scrubber,
  type ScrubberOptions,
  type ScrubStatus,
} from '../../storage/scrub/scrubber.ts';

export interface IntegrityOptions {
  readonly nodeId: string;
  readonly state: () => ClusterState | undefined;
  readonly group: (groupId: string) => PortalGroup | undefined;
  readonly images: ImageStore;
  /** Puts a part of an image right with what another node holds. */
  readonly mendImage: (ref: ImageVersionRef, part: ImagePart) => Promise<boolean>;
  readonly store: ScrubberOptions['store'];
  readonly activity: () => number;
  /** Workers of this node, each of which reads its own through. */
  readonly readers: number;
  /** Whether images are read through here as well, as by one of them only. */
  readonly readsImages: boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: CounterSet;
}

export interface IntegrityStatus extends ScrubStatus {
  /** Damage that could not be mended so far, in words; not all of it when there is much. */
  readonly left: readonly string[];
  readonly leftCount: number;
}

interface DamagedPart {
  readonly ref: ImageVersionRef;
  readonly part: ImagePart;
  isReported: boolean;
}

/** How sound what this node keeps is: reads it through, has mended what is damaged, and tells. */
export class Integrity {
  readonly #options: IntegrityOptions;
  readonly #scrubber: Scrubber;
  readonly #imageScrubs = new Map<string, ImageScrub>();
  /** Found and not mended, by what it is in words. */
  readonly #damaged = new Map<string, DamagedPart>();
  #cancelRetry: CancelTimer | undefined;
  #isStopped = false;

  constructor(options: IntegrityOptions) {
    this.#options = options;
    const { counters } = options;
    this.#scrubber = new Scrubber({
      ...options,
      areas: () => this.#areas(),
      damage: () => ({
        found: counters.get('replication.damage-found') + counters.get('image.damage-found'),
        mended: counters.get('replication.damage-mended') + counters.get('image.damage-mended'),
      }),
    });
  }

  start(): Promise<void> {
    this.#retryLater();
    return this.#scrubber.start();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelRetry?.();
    return this.#scrubber.stop();
  }

  scrubNow(): IntegrityStatus {
    this.#scrubber.startNow();
    return this.status();
  }

  /** A part of an image turned out to be damaged. @returns whether it is as it should be now */
  async mendImage(ref: ImageVersionRef, part: ImagePart): Promise<boolean> {
    const { logger, counters, images } = this.#options;
    const what = describePart(ref, part);
    const fields = { name: ref.name, version: ref.version, part };
    if (!this.#damaged.has(what) && this.#damaged.size < MAX_DAMAGED_PARTS) {
      this.#damaged.set(what, { ref, part, isReported: false });
      counters.add('image.damage-found');
      logger.error('image.damage-found', fields);
    }
    const isMended = await this.#options.mendImage(ref, part);
    images.forgetManifest();
    const damaged = this.#damaged.get(what);
    if (damaged === undefined) return isMended;
    if (isMended) {
      this.#damaged.delete(what);
      counters.add('image.damage-mended');
      logger.info('image.damage-mended', fields);
    } else if (!damaged.isReported) {
      damaged.isReported = true;
      counters.add('image.damage-left');
      logger.error('image.damage-left', fields);
    }
    return isMended;
  }

  status(): IntegrityStatus {
    const left = this.#groups().flatMap(([id, group]) =>
      group.damage().left.map(({ firstIndex, count }) => describeRecords(id, firstIndex, count)),
    );
    left.push(...this.#damaged.keys());
    return {
      ...this.#scrubber.status(),
      left: left.slice(0, MAX_DAMAGE_TOLD),
      leftCount: left.length,
    };
  }

  /** Whoever has what is lacking may be there by now. */
  #retryLater(): void {
    if (this.#isStopped) return;
    this.#cancelRetry = this.#options.timers.setTimer(DAMAGE_RETRY_MS, () => {
      void this.#retry().finally(() => this.#retryLater());
    });
  }

  async #retry(): Promise<void> {
    const held = new Set(this.#heldImages().map(({ name, version }) => `${name}@${version}`));
    for (const [what, { ref, part }] of [...this.#damaged]) {
      if (this.#isStopped) return;
      if (held.has(`${ref.name}@${ref.version}`)) await this.mendImage(ref, part);
      // What the cluster knows no more is damaged for nobody.
      else this.#damaged.delete(what);
    }
  }

  #groups(): [string, PortalGroup][] {
    return Object.keys(this.#options.state()?.portalGroups ?? {}).flatMap((id) => {
      const group = this.#options.group(id);
      return group === undefined ? [] : [[id, group] as [string, PortalGroup]];
    });
  }

  #heldImages(): ScrubbedImage[] {
    const { nodeId, state } = this.#options;
    return Object.values(state()?.images ?? {}).flatMap(({ name, versions }) =>
      versions.filter(({ holders }) => holders.includes(nodeId)).map((version) => ({ ...version, name })),
    );
  }

  #areas(): ScrubArea[] {
    const images = this.#options.readsImages ? this.#heldImages() : [];
    const held = images.map((image) => this.#scrubOf(image));
    const names = new Set(held.map(({ name }) => name));
    for (const name of this.#imageScrubs.keys()) if (!names.has(name)) this.#imageScrubs.delete(name);
    return [...this.#groups().map(([id, group]) => new GroupScrub(id, group)), ...held];
  }

  /** The same each time: it knows the image's manifest while it goes through it. */
  #scrubOf(image: ScrubbedImage): ImageScrub {
    const { images: store, logger } = this.#options;
    const mend = (ref: ImageVersionRef, part: ImagePart): Promise<boolean> => this.mendImage(ref, part);
    const made = new ImageScrub({ image, store, logger, mend });
    const known = this.#imageScrubs.get(made.name);
    if (known !== undefined) return known;
    this.#imageScrubs.set(made.name, made);
    return made;
  }
}

function describePart({ name, version }: ImageVersionRef, part: ImagePart): string {
  return `image ${name} version ${version}, ${part === 'manifest' ? 'its manifest' : `chunk ${part}`}`;
}

function describeRecords(groupId: string, firstIndex: number, count: number): string {
  if (count === 0) return `portal group ${groupId}, beside record ${firstIndex}`;
  const last = firstIndex + count - 1;
  return `portal group ${groupId}, ${count === 1 ? `record ${firstIndex}` : `records ${firstIndex} to ${last}`}`;
}
