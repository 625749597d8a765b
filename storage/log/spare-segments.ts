import type { RandomSource } from '../../base/random.ts';
import { MAX_SPARE_BYTES } from './limits.ts';
import type { FormerFile } from './segment.ts';
import { SALT_BYTES } from './segment-codec.ts';

export interface Spare extends FormerFile {
  /** The log that it was let go of by, the only one that may take it. */
  readonly owner: object;
  /** Gives its room back to the file system; never fails. */
  readonly remove: () => Promise<void>;
}

/**
 * Files of segments that logs have let go of, kept to be written over as the next ones: their pages are in memory and
 * their blocks allocated, so that writing to them is half the work, and syncing them changes no metadata. One for all
 * logs that a thread serves, which bounds what they keep together. Nothing kept outlives the process.
 */
export class SpareSegments {
  readonly #random: RandomSource;
  readonly #limitBytes: number;
  /** In the order in which they came. */
  readonly #kept: Spare[] = [];
  #keptBytes = 0;
  #mayKeep = true;

  /** @param random unforeseeable for whoever writes to the logs, see SegmentHeader.salt */
  constructor(random: RandomSource, limitBytes = MAX_SPARE_BYTES) {
    this.#random = random;
    this.#limitBytes = limitBytes;
  }

  /** Room that the file system has not, and would have after giveUp. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** What all logs may keep together. */
  get limitBytes(): number {
    return this.#limitBytes;
  }

  newSalt(): Uint8Array {
    return this.#random.bytes(SALT_BYTES);
  }

  mayKeep(sizeBytes: number): boolean {
    return this.#mayKeep && sizeBytes > 0 && sizeBytes <= this.#limitBytes;
  }

  /** What has been kept for longest makes room for it. Where it may not be kept any more, it is removed. */
  async keep(spare: Spare): Promise<void> {
    if (!this.mayKeep(spare.sizeBytes)) return spare.remove();
    this.#kept.push(spare);
    this.#keptBytes += spare.sizeBytes;
    while (this.#keptBytes > this.#limitBytes) await this.#dropOldest(() => true);
  }

  /** The one that came last: the likeliest to be in the system's memory. The taker has it for itself. */
  take(owner: object): Spare | undefined {
    const at = this.#kept.findLastIndex((spare) => spare.owner === owner);
    const taken = at < 0 ? undefined : this.#kept.splice(at, 1)[0];
    this.#keptBytes -= taken?.sizeBytes ?? 0;
    return taken;
  }

  /** @param owner whose; undefined: everybody's. @returns how many bytes the file system has got back */
  async giveUp(owner?: object): Promise<number> {
    let givenUpBytes = 0;
    for (let bytes = -1; bytes !== 0; givenUpBytes += bytes) {
      bytes = await this.#dropOldest((spare) => owner === undefined || spare.owner === owner);
    }
    return givenUpBytes;
  }

  /** While it may not be, nothing more is kept, and what is kept is given up. */
  async allow(mayKeep: boolean): Promise<void> {
    this.#mayKeep = mayKeep;
    if (!mayKeep) await this.giveUp();
  }

  async #dropOldest(isMeant: (spare: Spare) => boolean): Promise<number> {
    const at = this.#kept.findIndex(isMeant);
    const dropped = at < 0 ? undefined : this.#kept.splice(at, 1)[0];
    if (dropped === undefined) return 0;
    this.#keptBytes -= dropped.sizeBytes;
    await dropped.remove();
    return dropped.sizeBytes;
  }
}
