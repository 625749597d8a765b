import { type DiskRoom, type ReplicaEvent, ROOM_ENOUGH } from './core.ts';
import type { DiskSpace } from './disk-space.ts';
import type { RoomStatus } from './portal-group.ts';
import type { ReplicaState } from './replica-machine.ts';
import { isOutOfRoom } from './room.ts';

/** Tells the machine how the disk of its log stands, and the rest of a member how those of the group do. */
export class RoomWatch {
  readonly #disk: DiskSpace | undefined;
  readonly #state: ReplicaState;
  readonly #step: (event: ReplicaEvent) => void;

  /** @param disk undefined: it always has room */
  constructor(disk: DiskSpace | undefined, state: ReplicaState, step: (event: ReplicaEvent) => void) {
    this.#disk = disk;
    this.#state = state;
    this.#step = step;
  }

  /** Whether clients are to be refused space. */
  get isOut(): boolean {
    const { primary } = this.#state;
    // The disk's own word is newer than what the machine was told.
    return this.isDiskLow || (primary !== undefined && isOutOfRoom(primary));
  }

  /** Whether they may soon be. */
  get isRunningOut(): boolean {
    return this.#disk?.isFilling === true || roomStatus(this.#state).isRunningOut;
  }

  /** Whether only the reserve of this node's own disk is left. */
  get isDiskLow(): boolean {
    return this.#disk?.isLow === true;
  }

  /** So much has been appended to the log. */
  took(lengthBytes: number): void {
    this.#disk?.took(lengthBytes);
  }

  /** To be called often. */
  tick(): void {
    this.#disk?.tick();
    this.tell();
  }

  /** Tells the machine what has changed; to be called after appends too, which may use up the reserve within a tick. */
  tell(): void {
    const room = this.#disk?.room ?? ROOM_ENOUGH;
    if (!isSameRoom(room, this.#state.core.room)) this.#step({ kind: 'room', room });
  }
}

export function roomStatus({ core, primary }: ReplicaState): RoomStatus {
  const lowMembers = core.room.isLow ? [core.self.nodeId] : [];
  for (const { nodeId, low } of primary?.members.values() ?? []) if (low) lowMembers.push(nodeId);
  const isExhausted = primary !== undefined && isOutOfRoom(primary);
  return { isExhausted, isRunningOut: isExhausted || core.room.isFilling, lowMembers };
}

function isSameRoom(a: DiskRoom, b: DiskRoom): boolean {
  return a.isFilling === b.isFilling && a.isLow === b.isLow && a.isSpent === b.isSpent;
}
