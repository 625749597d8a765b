import type { DirectoryLife, PortalGroupId } from './state/model.ts';

/** Where lives are written down. */
export interface DirectoryLifeStore {
  /** Begins a life of a group's directory, which is there. Undefined: there is no room for one. */
  begin(group: PortalGroupId): Promise<DirectoryLife | undefined>;
  /** The cluster knows the directory by that life. */
  settle(group: PortalGroupId, life: string): Promise<void>;
}

/** Lives of this node's directories, as its process begins them: one operation on each directory at a time. */
export class LifeRegistration {
  readonly #store: DirectoryLifeStore;
  readonly #onFatal: (error: unknown) => void;
  /** Those begun last. */
  readonly #lives = new Map<PortalGroupId, Promise<DirectoryLife | undefined>>();
  /** What the cluster is known to know the directories by. */
  readonly #settled = new Map<PortalGroupId, string>();
  readonly #done = new Map<PortalGroupId, Promise<unknown>>();

  constructor(store: DirectoryLifeStore, onFatal: (error: unknown) => void) {
    this.#store = store;
    this.#onFatal = onFatal;
  }

  /** The life of a directory that this process began last; the first one now, if it has begun none. */
  current(group: PortalGroupId): Promise<DirectoryLife | undefined> {
    return this.#lives.get(group) ?? this.next(group);
  }

  /** Begins another one. */
  next(group: PortalGroupId): Promise<DirectoryLife | undefined> {
    const begun = this.#inTurn(group, () => this.#store.begin(group));
    this.#lives.set(group, begun);
    return begun;
  }

  /** The cluster knows the directory by that life. */
  settle(group: PortalGroupId, life: string): void {
    if (this.#settled.get(group) === life) return;
    this.#settled.set(group, life);
    this.#inTurn(group, () => this.#store.settle(group, life)).catch(this.#onFatal);
  }

  /** Both read what is there and write it anew: side by side, one would undo the other. */
  #inTurn<T>(group: PortalGroupId, work: () => Promise<T>): Promise<T> {
    const before = this.#done.get(group) ?? Promise.resolve();
    const done = before.then(work);
    // Whoever asked hears of a failure; the next one tries for itself.
    this.#done.set(
      group,
      done.catch(() => {}),
    );
    return done;
  }
}
