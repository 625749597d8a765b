import type { CounterSet } from '../../../base/counters.ts';
import type { World } from '../world.ts';
import type { Authority } from './authority.ts';
import type { Disk } from './disk.ts';
import type { Drives } from './drives.ts';
import type { Node } from './simulation-options.ts';

/** A log is read through in parts of so many bytes, with pauses up to so long. */
const SCRUB_BYTES = 60_000;
const SCRUB_MS = 60;
const SCRUB_IN_TROUBLE_MS = 2_000;
/** Clients read these. */
const NEWEST_RECORDS = 8;
const BLOCK_BYTES = 4096;
/** How a record begins that stands in for one of which nothing is in use. */
const VOID_RECORD = 7;
/** How a message begins that gives a record to a member where it is damaged. */
const RECORD_FRAME = 10;

export interface BitRotOptions {
  readonly group: string;
  readonly world: World;
  readonly counters: CounterSet;
  readonly authority: Authority;
  readonly drives: Drives;
  readonly nodes: () => readonly Node[];
  readonly isInTrouble: () => boolean;
}

/**
 * Bits turn over on disks and on their way. What is damaged wherever it is cannot be had again, and nothing could be
 * said of it: so one disk at a time is damaged, in what another has as well, and it is as it was where that one loses it.
 */
export class BitRot {
  readonly #options: BitRotOptions;

  constructor(options: BitRotOptions) {
    this.#options = options;
  }

  /** Reads a part of the node's log every so often, all of it again and again. */
  scrub(node: Node, fromIndex = 0): void {
    const { group: groupId, world, isInTrouble } = this.#options;
    const { process, host } = node;
    const goOn = (nextIndex: number): void =>
      process.enterAfter(world.between(1, isInTrouble() ? SCRUB_IN_TROUBLE_MS : SCRUB_MS), () =>
        this.scrub(node, nextIndex),
      );
    const group = host.group(groupId);
    if (group === undefined) return goOn(0);
    void group
      .verifyPart(fromIndex, SCRUB_BYTES)
      .then(({ nextIndex, endIndex }) => goOn(nextIndex >= endIndex ? 0 : nextIndex));
  }

  /** A bit turns over in a committed record of the node's disk. */
  flip({ nodeId, disk }: Node): void {
    const { group: groupId, world, counters, authority, drives, nodes } = this.#options;
    if (drives.all().some((other) => other !== disk && other.damaged().length > 0)) return;
    const { inSync } = authority.group;
    const sound = nodes().find(
      (n) => n.nodeId !== nodeId && inSync.some((m) => m.incarnation === n.process.incarnation),
    );
    const group = sound?.process.isAlive === true ? sound.host.group(groupId) : undefined;
    if (sound === undefined || group === undefined) return;
    const first = Math.max(disk.firstIndex, sound.disk.firstIndex);
    const count = Math.min(group.status().commitIndex, disk.nextIndex) - first;
    if (count <= 0) return;
    const among = world.chance(70) ? Math.min(count, NEWEST_RECORDS) : count;
    const index = first + count - 1 - world.random.below(among);
    const payload = disk.written(index);
    if (!isSame(payload, sound.disk.written(index)) || disk.damaged().includes(index)) return;
    const dataAt = payload.length > BLOCK_BYTES && world.chance(85) ? payload.length - BLOCK_BYTES : 0;
    counters.add(dataAt === 0 ? 'sim.flips-anywhere' : 'sim.flips-in-data');
    disk.flip(index, dataAt + world.random.below(payload.length - dataAt), world.random.below(8));
  }

  /** Takes back what nobody could mend any more. @param starting whose node is to start with it now */
  spare(starting?: { readonly nodeId: string; readonly disk: Disk }): void {
    const { authority, counters, nodes } = this.#options;
    const { inSync } = authority.group;
    for (const disk of this.#options.drives.all()) {
      const damaged = disk.damaged();
      if (damaged.length === 0) continue;
      const others = nodes().filter((n) => n.disk !== disk);
      // It would be set aside, and is the last copy.
      const isLast = starting?.disk === disk && inSync.length === 1 && inSync[0]?.nodeId === starting.nodeId;
      for (const index of damaged) {
        const isElsewhere = others.some((other) => other.disk.has(index, disk.written(index)));
        if (isElsewhere && !isLast) continue;
        counters.add('sim.flips-taken-back');
        disk.unflip(index);
      }
    }
  }

  /** Memory of the sender is bad: what was read and compared is sent otherwise. */
  spoil(message: Uint8Array): void {
    const { world, counters, isInTrouble } = this.#options;
    if (message[0] !== RECORD_FRAME || !isInTrouble() || !world.chance(30)) return;
    counters.add('sim.spoilt-records');
    const at = message.length - 1 - world.random.below(Math.ceil(message.length / 2));
    message[at] = (message[at] as number) ^ 0x04;
  }

  /** @returns what is still damaged though it could be mended; undefined: nothing */
  leftDamaged(): string | undefined {
    const all = this.#options.nodes();
    for (const { nodeId, disk } of all) {
      const damaged = disk.damaged().filter((index) => all.every((other) => isWhole(other.disk, index)));
      if (damaged.length > 0) return `records ${damaged.join(', ')} of ${nodeId} are left damaged`;
    }
    return undefined;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** A void elsewhere says that it is in use nowhere, and nothing is left to mend it with. */
function isWhole(disk: Disk, index: number): boolean {
  return index >= disk.firstIndex && index < disk.nextIndex && disk.written(index)[0] !== VOID_RECORD;
}
