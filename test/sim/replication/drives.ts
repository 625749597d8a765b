import type { MemberIdentity } from '../../../storage/replication/index.ts';
import type { World } from '../world.ts';
import { Disk } from './disk.ts';

interface WithDisk {
  readonly nodeId: string;
  readonly disk: Disk;
}

/** An in-sync member as the stand-in for the cluster log has it. */
type InSync = MemberIdentity & { readonly disk?: string };

/** The disks of all nodes: which each has, is without for now, had some time ago, and gets at its next start. */
export class Drives {
  readonly #world: World;
  #made = 0;
  readonly #all = new Map<string, Disk>();
  readonly #unmounted = new Map<string, Disk>();
  readonly #old = new Map<string, Disk>();
  readonly #next = new Map<string, Disk>();

  constructor(world: World) {
    this.#world = world;
  }

  make(nodeId: string): Disk {
    const disk = new Disk(`${nodeId}-disk-${++this.#made}`);
    this.#all.set(disk.id, disk);
    return disk;
  }

  /** Whatever may turn up again, copies of earlier times among them. */
  all(): Disk[] {
    return [...this.#all.values(), ...this.#old.values(), ...this.#next.values()];
  }

  isExchanging(nodeId: string): boolean {
    return this.#next.has(nodeId);
  }

  isUnmounted(nodeId: string): boolean {
    return this.#unmounted.has(nodeId);
  }

  /** Whether the node is to get another disk than it has in any case: one it has for now only is replaced by another such one. */
  hasStandIn(nodeId: string): boolean {
    if (this.isUnmounted(nodeId) && !this.isExchanging(nodeId)) this.replace(nodeId);
    return this.isExchanging(nodeId);
  }

  /** What the node has is not to be used any more. */
  replace(nodeId: string): void {
    this.#next.set(nodeId, this.make(nodeId));
  }

  /** The one that the node is to be started with, if it is another one than it had. */
  take(nodeId: string): Disk | undefined {
    const disk = this.#next.get(nodeId);
    this.#next.delete(nodeId);
    return disk;
  }

  /** Sometimes keeps what a node has by now, to be found there later. */
  maybeCopy(nodeId: string, disk: Disk): void {
    if (!this.#old.has(nodeId) && this.#world.chance(20)) this.#old.set(nodeId, disk.copy());
  }

  unmount({ nodeId, disk }: WithDisk): void {
    this.#unmounted.set(nodeId, disk);
  }

  /** Another disk for the next start. @param isNeeded it may turn out to be the last copy: only out of reach for a while */
  exchange(node: WithDisk, isNeeded: boolean): 'unmounted' | 'old-disks' | 'wiped' {
    const { nodeId } = node;
    const old = this.#old.get(nodeId);
    this.#old.delete(nodeId);
    if (isNeeded) {
      this.unmount(node);
      this.#next.set(nodeId, this.make(nodeId));
      return 'unmounted';
    }
    if (old !== undefined && this.#world.chance(50)) {
      this.#next.set(nodeId, old.copy());
      return 'old-disks';
    }
    this.#next.set(nodeId, this.make(nodeId));
    return 'wiped';
  }

  /**
   * The disk that was out of reach is back, unless what has been in its place is in sync by now: then the old one is
   * of no more use, and is never seen again.
   */
  mountAgain(nodeId: string, inSync: readonly InSync[]): boolean {
    const disk = this.#unmounted.get(nodeId) as Disk;
    this.#unmounted.delete(nodeId);
    if (inSync.some((m) => m.nodeId === nodeId && m.disk !== disk.id)) return false;
    this.#next.set(nodeId, disk);
    return true;
  }

  /** The disk over which a member is in sync, for its next start. @returns false when it has that one */
  mountOf(member: InSync, present: Disk): boolean {
    const disk = this.#all.get(member.disk ?? '');
    if (disk === undefined || disk.id === present.id) return false;
    this.#next.set(member.nodeId, disk);
    return true;
  }
}
