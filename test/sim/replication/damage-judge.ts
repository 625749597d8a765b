import type { Network } from '../network.ts';
import type { Process, World } from '../world.ts';
import type { CopyHolder } from './bit-rot.ts';
import type { Disk } from './disk.ts';

export interface DamageJudgeOptions {
  readonly world: World;
  readonly network: Network;
  readonly counters: { add(name: string, by?: number): void };
  /** Those that have copies of the group, in its replicas, the one that is asked included. */
  readonly holders: () => readonly CopyHolder[];
  /** Records spoilt on their way so far. */
  readonly spoilt: () => number;
}

/** Somebody who could be asked for records, as it was when a read began. */
interface Witness {
  readonly process: Process;
  readonly disk: Disk;
  readonly link: object;
}

/**
 * Says whether a read may fail for damage: where a record that is damaged on the disk of the node that is asked was to be
 * had, sound, from nobody whom that node could have asked all the time. Every other read that fails so is a fault.
 */
export class DamageJudge {
  readonly #options: DamageJudgeOptions;

  constructor(options: DamageJudgeOptions) {
    this.#options = options;
  }

  /** A read begins. @returns to be asked when it has failed */
  readBegins(process: Process): () => boolean {
    const { world, network, spoilt, counters } = this.#options;
    const sinceMs = world.nowMs;
    const { refused } = network.counts;
    const spoiltBefore = spoilt();
    const disk = this.#diskOf(process);
    const damagedBefore = disk?.damaged() ?? [];
    const witnesses = damagedBefore.length === 0 ? undefined : this.#witnesses(process, sinceMs);
    return () => {
      if (disk === undefined) return true;
      const isTroubled = network.counts.refused > refused || spoilt() > spoiltBefore;
      const known = new Set(damagedBefore);
      // Damage that came later than the read was there for somebody to see only in part of the time.
      const isNew = disk.damaged().some((index) => !known.has(index));
      const isRight =
        isTroubled ||
        isNew ||
        process.hasPausedSince(sinceMs) ||
        this.#lacksSome(process, disk, sinceMs, witnesses);
      if (isRight) counters.add('sim.reads-lacking');
      return isRight && (isNew || damagedBefore.length > 0);
    };
  }

  #diskOf(process: Process): Disk | undefined {
    return this.#options.holders().find((holder) => holder.process === process)?.disk;
  }

  /** Those that can be asked, and will have answered in time, if nothing comes in their way. */
  #witnesses(process: Process, sinceMs: number): Witness[] {
    const { network, holders } = this.#options;
    return holders().flatMap(({ process: other, host, disk }) => {
      if (other === process || !other.isAlive || host === undefined || disk.slowMs > 0) return [];
      const link = network.wholeLink(process, other.nodeId, sinceMs);
      return link === undefined || other.hasPausedSince(sinceMs) ? [] : [{ process: other, disk, link }];
    });
  }

  #lacksSome(process: Process, disk: Disk, sinceMs: number, before: readonly Witness[] | undefined): boolean {
    const now = this.#witnesses(process, sinceMs);
    const all = (before ?? []).filter((a) => now.some((b) => a.process === b.process && a.link === b.link));
    return disk.damaged().some((index) => all.every((other) => !other.disk.has(index, disk.written(index))));
  }
}
