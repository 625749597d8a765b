import { decodeFrame } from '../../../storage/replication/frame.ts';
import type { MemberIdentity, ReplicationHost } from '../../../storage/replication/index.ts';
import type { Process, World } from '../world.ts';
import type { Disk } from './disk.ts';

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

/** A node with a copy of the group. */
export interface CopyHolder {
  readonly nodeId: string;
  readonly disk: Disk;
  readonly process: Process;
  /** Of that process; undefined while there is none. */
  readonly host: ReplicationHost | undefined;
}

type OfDisk = Pick<CopyHolder, 'nodeId' | 'disk'>;

export interface BitRotOptions {
  readonly group: string;
  readonly world: World;
  readonly counters: { add(name: string, by?: number): void };
  readonly inSync: () => readonly MemberIdentity[];
  /** Whatever may turn up again, copies of earlier times among them. */
  readonly disks: () => readonly Disk[];
  readonly nodes: () => readonly CopyHolder[];
  readonly isInTrouble: () => boolean;
  /** A node is to start with the last copy of a group, which is damaged: whether it is as it was by then. Default: yes. */
  readonly sparesLast?: () => boolean;
  /** Of its bad memory: percent of the records given to others that are spoilt. */
  readonly spoilPercent: number;
}

/**
 * Bits turn over on disks and on their way. What is damaged wherever it is cannot be had again, and nothing could be
 * said of it: so one disk at a time is damaged, in what another has as well, and it is as it was where that one loses it.
 */
export class BitRot {
  readonly #options: BitRotOptions;
  spoilt = 0;

  constructor(options: BitRotOptions) {
    this.#options = options;
  }

  /** Reads a part of the node's log every so often, all of it again and again. */
  scrub({ process, host }: CopyHolder, fromIndex = 0): void {
    const { group: groupId, world, isInTrouble } = this.#options;
    const again = { process, host } as CopyHolder;
    const goOn = (nextIndex: number): void =>
      process.enterAfter(world.between(1, isInTrouble() ? SCRUB_IN_TROUBLE_MS : SCRUB_MS), () =>
        this.scrub(again, nextIndex),
      );
    const group = host?.group(groupId);
    if (group === undefined) return goOn(0);
    void group
      .verifyPart(fromIndex, SCRUB_BYTES)
      .then(({ nextIndex, endIndex }) => goOn(nextIndex >= endIndex ? 0 : nextIndex));
  }

  /** A bit turns over in a committed record of the node's disk. */
  flip(holder: OfDisk): void {
    const { world } = this.#options;
    const { first, end, sound } = this.#mayFlip(holder) ?? { first: 0, end: 0, sound: holder.disk };
    const count = end - first;
    if (count <= 0) return;
    const among = world.chance(70) ? Math.min(count, NEWEST_RECORDS) : count;
    this.#flipRecord(holder.disk, sound, first + count - 1 - world.random.below(among));
  }

  /** Which records another disk has as well, so that they could be had again; undefined: none. */
  #mayFlip({ nodeId, disk }: OfDisk) {
    const { disks, nodes, inSync, group: groupId } = this.#options;
    if (disks().some((other) => other !== disk && other.damaged().length > 0)) return undefined;
    const sound = nodes().find(
      (n) => n.nodeId !== nodeId && inSync().some((m) => m.incarnation === n.process.incarnation),
    );
    const group = sound?.process.isAlive === true ? sound.host?.group(groupId) : undefined;
    if (sound === undefined || group === undefined) return undefined;
    const first = Math.max(disk.firstIndex, sound.disk.firstIndex);
    return { first, end: Math.min(group.status().commitIndex, disk.nextIndex), sound: sound.disk };
  }

  #flipRecord(disk: Disk, sound: Disk, index: number): boolean {
    const { world, counters } = this.#options;
    const payload = disk.written(index);
    if (!isSame(payload, sound.written(index)) || disk.damaged().includes(index)) return false;
    const dataAt = payload.length > BLOCK_BYTES && world.chance(85) ? payload.length - BLOCK_BYTES : 0;
    counters.add(dataAt === 0 ? 'sim.flips-anywhere' : 'sim.flips-in-data');
    disk.flip(index, dataAt + world.random.below(payload.length - dataAt), world.random.below(8));
    return true;
  }

  /** A record of the disk cannot be told from its neighbours any more; another disk has it as well. */
  breakRecord({ disk }: OfDisk): boolean {
    const { world, disks, counters } = this.#options;
    if (disks().some((other) => other !== disk && other.damaged().length > 0)) return false;
    const index = disk.firstIndex + world.random.below(Math.max(1, disk.records.length));
    if (index >= disk.nextIndex || disk.damaged().includes(index)) return false;
    if (!disks().some((other) => other !== disk && other.has(index, disk.written(index)))) return false;
    counters.add('sim.broken-records');
    disk.flip(index, 0, world.random.below(8));
    // The next start reads all.
    disk.checkpoint = undefined;
    return true;
  }

  /** Takes back what nobody could mend any more. @param starting whose node is to start with it now */
  spare(starting?: { readonly nodeId: string; readonly disk: Disk }): void {
    const { counters, nodes, disks, sparesLast = () => true } = this.#options;
    const inSync = this.#options.inSync();
    for (const disk of disks()) {
      const damaged = disk.damaged();
      if (damaged.length === 0) continue;
      const others = nodes().filter((n) => n.disk !== disk);
      // It would be set aside, and is the last copy.
      const isSole = inSync.length === 1 && inSync[0]?.nodeId === starting?.nodeId;
      const isLast = starting?.disk === disk && isSole && sparesLast();
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
    const { world, counters, isInTrouble, spoilPercent } = this.#options;
    if (message[0] !== RECORD_FRAME || !isInTrouble() || !world.chance(spoilPercent)) return;
    this.spoilt++;
    counters.add('sim.spoilt-records');
    const drawn = message.length - 1 - world.random.below(Math.ceil(message.length / 2));
    const frame = decodeFrame(message);
    const payloadBytes = frame.kind === 'record' ? (frame.payload?.length ?? message.length) : message.length;
    // More than half of a short message is what stands around the record: without that it is not one that was spoilt.
    const at = drawn < message.length - payloadBytes ? message.length - 1 : drawn;
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
