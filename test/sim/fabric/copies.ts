import type { GroupDisks } from '../../../cluster/disk-registration.ts';
import type { RetiredCopy } from '../../../cluster/state/model.ts';
import { decodeGroupMeta } from '../../../storage/replication/group-meta.ts';
import type { CheckpointStore, MetaStore } from '../../../storage/replication/index.ts';
import { Disk } from '../replication/disk.ts';
import type { Process } from '../world.ts';

/** A node's copies of portal groups: a directory for each, that outlives the node's processes. */
export class Copies {
  readonly #nodeId: string;
  readonly #disks = new Map<string, Disk>();
  /** Directories that are out of reach for now. */
  readonly #unmounted = new Map<string, Disk>();
  /** Damaged copies, the last of each group. */
  readonly #setAside = new Map<string, Disk>();
  /** What is known of those whose meta file can be read. */
  readonly #retired = new Map<string, RetiredCopy>();
  #made = 0;

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
      this.#retired.set(group, { disk: disk.id, epoch: decodeGroupMeta(meta).epoch, processes });
    }
  }

  /** What was set aside is the group's directory again, if it is that disk. No process may be running from then on. */
  takeBack(group: string, diskId: string | undefined): boolean {
    const disk = this.#setAside.get(group);
    if (disk === undefined || disk.id !== diskId) return false;
    this.#setAside.delete(group);
    this.#retired.delete(group);
    this.#disks.set(group, disk);
    return true;
  }

  get all(): readonly Disk[] {
    return [...this.#disks.values()];
  }

  /** Those that lose what was not flushed when the host loses its power, whether anybody opens them or not. */
  get powered(): readonly Disk[] {
    return [...this.#disks.values(), ...this.#setAside.values()];
  }

  get unmounted(): readonly string[] {
    return [...this.#unmounted.keys()];
  }

  groupDisks(): GroupDisks {
    return {
      present: () => Promise.resolve([...this.#disks.keys()]),
      identify: (group) => Promise.resolve(this.disk(group).id),
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
    if (disk !== undefined) this.#disks.set(group, disk);
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
