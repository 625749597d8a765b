import type { GroupDisks } from '../../../cluster/disk-registration.ts';
import type { InSyncMember, RetiredCopy } from '../../../cluster/state/model.ts';
import { decodeGroupMeta } from '../../../storage/replication/group-meta.ts';
import type { CheckpointStore, MetaStore } from '../../../storage/replication/index.ts';
import { MAX_DIRECTORY_LIVES } from '../../../storage/replication/limits.ts';
import { Disk } from '../replication/disk.ts';
import type { Process } from '../world.ts';

/** How many backups of a directory there are at a time. */
const MAX_KEPT = 4;

/** A node's copies of portal groups: a directory for each, that outlives the node's processes. */
export class Copies {
  readonly #nodeId: string;
  readonly #disks = new Map<string, Disk>();
  /** Directories that are out of reach for now. */
  readonly #unmounted = new Map<string, Disk>();
  /** Damaged copies, the last of each group. */
  readonly #setAside = new Map<string, Disk>();
  /** Backups of directories, the oldest first. */
  readonly #kept = new Map<string, Disk[]>();
  /** What stood in for a directory that is back, the last of each group. */
  readonly #standIns = new Map<string, Disk>();
  /** What is known of those whose meta file can be read. */
  readonly #retired = new Map<string, RetiredCopy>();
  #made = 0;
  #lives = 0;

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
  }

  /** The group's directory, which is made if there is none. */
  disk(group: string): Disk {
    let disk = this.#disks.get(group);
    if (disk === undefined) {
      disk = new Disk(`${this.#nodeId}-${group}-${++this.#made}`);
      this.#disks.set(group, disk);
    }
    return disk;
  }

  /** The group's directory, if there is one. */
  find(group: string): Disk | undefined {
    return this.#disks.get(group);
  }

  /** What may turn up as the group's directory. */
  everyDisk(group: string): Disk[] {
    return [this.#disks.get(group), this.#unmounted.get(group)].filter((disk) => disk !== undefined);
  }

  /** A damaged copy: the next process begins without it. */
  setAside(group: string, processes: readonly string[]): void {
    const disk = this.#disks.get(group);
    this.#disks.delete(group);
    if (disk === undefined) return;
    this.#setAside.set(group, disk);
    const meta = disk.meta.get(group);
    this.#retired.delete(group);
    // As storage/replication/set-aside.ts reads it.
    if (meta !== undefined) {
      const { epoch } = decodeGroupMeta(meta);
      this.#retired.set(group, { disk: disk.id, epoch, processes, lives: disk.lives });
    }
  }

  /**
   * What was set aside, or stood in for what is there now, is the group's directory again, if it is the one that is in sync. No
   * process may be running from then on.
   */
  takeBack(group: string, member: InSyncMember): boolean {
    for (const from of [this.#standIns, this.#setAside]) {
      const disk = from.get(group);
      if (disk === undefined || !isDiskOf(disk, member)) continue;
      from.delete(group);
      if (from === this.#setAside) this.#retired.delete(group);
      this.#disks.set(group, disk);
      return true;
    }
    return false;
  }

  /** Backups of all directories as they are now. */
  keep(): void {
    for (const [group, disk] of this.#disks) {
      this.#kept.set(group, [...(this.#kept.get(group) ?? []), disk.copy()].slice(-MAX_KEPT));
    }
  }

  /**
   * A backup takes the place of the group's directory, which is out of reach from then on: one of another life than that
   * may be known by. No process may be running.
   * @returns whether there is such a one
   */
  putOldBack(group: string): boolean {
    const disk = this.#disks.get(group);
    if (disk === undefined || this.#unmounted.has(group)) return false;
    const isOld = (kept: Disk): boolean =>
      kept.id === disk.id && kept.lives.length > 0 && !kept.lives.some((life) => disk.lives.includes(life));
    const old = (this.#kept.get(group) ?? []).findLast(isOld);
    if (old === undefined) return false;
    this.unmount(group);
    this.#disks.set(group, old.copy());
    return true;
  }

  /** The group's directory, and whatever else there is of it, is lost for good. No process may be running. */
  lose(group: string): void {
    for (const from of [this.#disks, this.#kept, this.#standIns]) from.delete(group);
  }

  get all(): readonly Disk[] {
    return [...this.#disks.values()];
  }

  /** Those that lose what was not flushed when the host loses its power, whether anybody opens them or not. */
  get powered(): readonly Disk[] {
    return [this.#disks, this.#setAside, this.#standIns].flatMap((disks) => [...disks.values()]);
  }

  get unmounted(): readonly string[] {
    return [...this.#unmounted.keys()];
  }

  groupDisks(): GroupDisks {
    return {
      present: () => Promise.resolve([...this.#disks.keys()]),
      identify: (group) => Promise.resolve(this.disk(group).id),
      begin: (group) => {
        const disk = this.disk(group);
        const former = disk.lives;
        const life = `${this.#nodeId}-life-${++this.#lives}`;
        disk.lives = [...former, life].slice(-MAX_DIRECTORY_LIVES);
        return Promise.resolve({ life, former });
      },
      settle: (group, life) => {
        const disk = this.disk(group);
        if (disk.lives.at(-1) === life) disk.lives = [life];
        return Promise.resolve();
      },
      retired: () => {
        const entries = Array.from(this.#retired, ([group, copy]) => [group, [copy]]);
        return Promise.resolve(Object.fromEntries(entries) as Record<string, RetiredCopy[]>);
      },
    };
  }

  checkpointStore(process: Process): CheckpointStore {
    const stores = new Map<Disk, CheckpointStore>();
    const storeOf = (group: string): CheckpointStore => {
      const disk = this.disk(group);
      const store = stores.get(disk) ?? disk.checkpointStore(process);
      stores.set(disk, store);
      return store;
    };
    return {
      logId: (group) => storeOf(group).logId(group),
      read: (group, use) => storeOf(group).read(group, use),
      begin: (group) => storeOf(group).begin(group),
      remove: (group) => storeOf(group).remove(group),
    };
  }

  metaStore(process: Process): MetaStore {
    const stores = new Map<Disk, MetaStore>();
    const storeOf = (group: string): MetaStore => {
      const disk = this.disk(group);
      const store = stores.get(disk) ?? disk.metaStore(process);
      stores.set(disk, store);
      return store;
    };
    return {
      load: (group) => storeOf(group).load(group),
      save: (group, bytes) => storeOf(group).save(group, bytes),
    };
  }

  losePower(): void {
    for (const disk of this.powered) disk.losePower();
  }

  /** From the next process on there is nothing of the group. No process may be running. */
  unmount(group: string): void {
    const disk = this.#disks.get(group);
    if (disk === undefined || this.#unmounted.has(group)) return;
    this.#disks.delete(group);
    this.#unmounted.set(group, disk);
  }

  /** What was out of reach is back, in place of whatever was there meanwhile. No process may be running. */
  mountAgain(group: string): void {
    const disk = this.#unmounted.get(group);
    this.#unmounted.delete(group);
    if (disk === undefined) return;
    const standIn = this.#disks.get(group);
    if (standIn !== undefined) this.#standIns.set(group, standIn);
    this.#disks.set(group, disk);
  }

  /** What is out of reach never comes back. */
  forget(group: string): void {
    this.#unmounted.delete(group);
  }

  mend(): void {
    for (const disk of this.#disks.values()) {
      disk.isFull = false;
      disk.slowMs = 0;
    }
  }
}

/** Whether it is the very directory that a member is in sync over, as the cluster knows it. */
export function isDiskOf(disk: Disk, member: Pick<InSyncMember, 'disk' | 'life'>): boolean {
  return disk.id === member.disk && (member.life === undefined || disk.lives.includes(member.life));
}
