import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { type DirectoryLifeStore, LifeRegistration } from './life-registration.ts';
import type { Command, CommandResult } from './state/commands.ts';
import { MAX_RETIRED_COPIES } from './state/limits.ts';
import type { ClusterState, DirectoryLife, NodeId, PortalGroupId, RetiredCopy } from './state/model.ts';
import { LIVES_VERSION, versionOf } from './state/versions.ts';
import { waitingReason } from './state/waiting.ts';

/** The directories that hold this node's copies of portal groups, by their ids. */
export interface GroupDisks extends DirectoryLifeStore {
  /** Groups that have a directory here, whatever this node knows of the cluster's present state. */
  present(): Promise<readonly PortalGroupId[]>;
  /** The id of a group's directory, which is made if there is none. */
  identify(group: PortalGroupId): Promise<string>;
  /** Of each group the copies that were put out of the way and tell how far they had been in use, the newest last. */
  retired(): Promise<Readonly<Record<PortalGroupId, readonly RetiredCopy[]>>>;
}

export interface DiskRegistrationOptions {
  readonly nodeId: NodeId;
  readonly incarnation: string;
  readonly groupDisks: GroupDisks;
  readonly propose: (command: Command) => Promise<CommandResult>;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

/** Tells the cluster which directories hold this node's copies, and the log which groups wait for one. */
export class DiskRegistration {
  readonly #options: DiskRegistrationOptions;
  /** Groups that came while this node ran, and whose directory is being told. */
  readonly #telling = new Set<PortalGroupId>();
  readonly #lives: LifeRegistration;
  /** Directories without room for one. */
  readonly #hasNoLife = new Set<PortalGroupId>();
  /** Why each group that nobody can serve waits, as it was said last. */
  readonly #waiting = new Map<PortalGroupId, string>();

  constructor(options: DiskRegistrationOptions) {
    this.#options = options;
    this.#lives = new LifeRegistration(options.groupDisks, options.onFatal);
  }

  /**
   * For the registration: the directories of all groups that this node keeps a copy of, by a state that may be
   * old, and whatever others are there.
   */
  async all(state: ClusterState): Promise<Record<PortalGroupId, string>> {
    const { groupDisks, nodeId } = this.#options;
    const mine = Object.values(state.portalGroups).filter((group) => group.replicas.includes(nodeId));
    const groups = new Set([...(await groupDisks.present()), ...mine.map((group) => group.id)]);
    const disks: Record<PortalGroupId, string> = {};
    for (const group of groups) disks[group] = await groupDisks.identify(group);
    return disks;
  }

  /** For the registration as well, once all nodes know of lives: those of the directories of these groups. */
  async lives(groups: readonly PortalGroupId[]): Promise<Record<PortalGroupId, DirectoryLife>> {
    const begun = await Promise.all(groups.map((group) => this.#lives.current(group)));
    return Object.fromEntries(
      groups.flatMap((group, i): [PortalGroupId, DirectoryLife][] => {
        const life = begun[i];
        return life === undefined ? [] : [[group, life]];
      }),
    );
  }

  /**
   * Directories have changed: what they were until now is to be told from what they are. Begins other lives of those that are in
   * sync, and tells the cluster. Resolves once that is done, or has failed: then it may be tried again.
   */
  async renew(state: ClusterState, groups: readonly PortalGroupId[]): Promise<void> {
    await Promise.all(groups.map((group) => this.#renew(state, group)));
  }

  async #renew(state: ClusterState, group: PortalGroupId): Promise<void> {
    const { nodeId, incarnation, onFatal } = this.#options;
    const node = state.nodes[nodeId];
    const [disk, known] = [node?.disks?.[group], node?.lives?.[group]];
    const members = state.portalGroups[group]?.inSync ?? [];
    const isIn = members.some((member) => member.nodeId === nodeId && member.incarnation === incarnation);
    if (disk === undefined || known === undefined || !isIn || node?.incarnation !== incarnation) return;
    let life: DirectoryLife | undefined;
    try {
      life = await this.#lives.next(group);
    } catch (error) {
      onFatal(error);
      return;
    }
    if (life !== undefined && life.life !== known) await this.#propose(group, disk, life);
  }

  /** For the registration as well. Undefined: none. */
  async retired(): Promise<Readonly<Record<PortalGroupId, readonly RetiredCopy[]>> | undefined> {
    const retired = await this.#options.groupDisks.retired();
    const told = Object.entries(retired).map(([group, copies]) => [group, copies.slice(-MAX_RETIRED_COPIES)]);
    return told.length === 0 ? undefined : Object.fromEntries(told);
  }

  /** To be called with every state after the registration. */
  follow(state: ClusterState): void {
    const { nodeId, incarnation } = this.#options;
    this.#sayWhoWaits(state);
    const node = state.nodes[nodeId];
    if (node?.status !== 'up' || node.incarnation !== incarnation || node.disks === undefined) return;
    const { disks, lives = {} } = node;
    const areLivesKnown = versionOf(state) >= LIVES_VERSION;
    for (const [id, life] of Object.entries(lives)) this.#lives.settle(id, life);
    for (const { id, replicas } of Object.values(state.portalGroups)) {
      const isTold = Object.hasOwn(disks, id) && (!areLivesKnown || Object.hasOwn(lives, id));
      if (!replicas.includes(nodeId) || isTold || this.#telling.has(id) || this.#hasNoLife.has(id)) continue;
      this.#telling.add(id);
      void this.#tell(id, areLivesKnown).finally(() => this.#telling.delete(id));
    }
  }

  async #tell(group: PortalGroupId, areLivesKnown: boolean): Promise<void> {
    const { groupDisks, onFatal } = this.#options;
    let disk: string;
    let life: DirectoryLife | undefined;
    try {
      disk = await groupDisks.identify(group);
      if (areLivesKnown) life = await this.#lives.current(group);
      if (areLivesKnown && life === undefined) this.#hasNoLife.add(group);
    } catch (error) {
      onFatal(error);
      return;
    }
    await this.#propose(group, disk, life);
  }

  async #propose(group: PortalGroupId, disk: string, life: DirectoryLife | undefined): Promise<void> {
    const { nodeId, incarnation, propose, logger } = this.#options;
    try {
      const begun = life === undefined ? {} : { life };
      await propose({ type: 'identifyDisk', nodeId, incarnation, group, disk, ...begun });
    } catch (error) {
      // Told again with the next state, or begun again.
      logger.warn('cluster.disk-not-identified', { group, reason: describeError(error) });
    }
  }

  #sayWhoWaits(state: ClusterState): void {
    for (const group of Object.values(state.portalGroups)) {
      const reason = waitingReason(state, group);
      if (reason === this.#waiting.get(group.id)) continue;
      if (reason === undefined) {
        this.#waiting.delete(group.id);
        this.#options.logger.info('portal-group.waits-no-more', { group: group.id });
      } else {
        this.#waiting.set(group.id, reason);
        this.#options.logger.error('portal-group.waits', { group: group.id, reason });
      }
    }
  }
}
