import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { ClientRecord, ClusterState } from '../../cluster/state/model.ts';
import { type BlockDevice, DeviceError } from '../../storage/block-device.ts';
import type { ImageVersionRef } from '../../storage/image/image-source.ts';
import type { PortalGroup } from '../../storage/replication/portal-group.ts';
import { chooseBootImage, lunLengthBlocks } from './boot-image.ts';
import { ImageUses } from './image-use.ts';
import type { BeginBootAnswer, ImageUse } from './worker-protocol.ts';

export interface ClientDisksOptions {
  /** The cluster's state as far as it is known here. */
  readonly state: () => ClusterState | undefined;
  readonly group: (groupId: string) => PortalGroup | undefined;
  /** Ends all sessions of the target on this node. */
  readonly closeTarget: (targetName: string) => void;
  readonly logger: Logger;
}

/** The clients' disks in the portal groups that are served here: made, started over at a boot, and dropped. */
export class ClientDisks {
  readonly #options: ClientDisksOptions;
  readonly #imageUses = new ImageUses();
  /** Disks being made, so that two logins at once make one. */
  readonly #making = new Map<number, Promise<void>>();

  constructor(options: ClientDisksOptions) {
    this.#options = options;
  }

  /** See ServedGroups. */
  async open(groupId: string, client: ClientRecord): Promise<BlockDevice | undefined> {
    const group = this.#options.group(groupId);
    if (group === undefined || !group.isServing()) return undefined;
    if (!hasLun(group, client)) {
      const making = this.#making.get(client.lunId) ?? this.#makeDisk(group, client);
      this.#making.set(client.lunId, making);
      try {
        await making;
      } catch (error) {
        this.#options.logger.warn('lun.not-made', { client: client.name, reason: describeError(error) });
        return undefined;
      } finally {
        this.#making.delete(client.lunId);
      }
    }
    return group.openDevice(client.lunId);
  }

  openStandby(groupId: string, client: ClientRecord): BlockDevice | undefined {
    return this.#options.group(groupId)?.standbyDevice(client.lunId);
  }

  /**
   * A client is about to boot. A discarded write cache is dropped now, on every replica, before the client is
   * told where its disk is; one that is kept is left alone.
   */
  async beginBoot(clientName: string): Promise<BeginBootAnswer> {
    const client = this.#options.state()?.clients[clientName];
    const group = client === undefined ? undefined : this.#options.group(client.portalGroup);
    // Whoever asks has found it registered, so this thread is only a moment behind.
    if (client === undefined || group === undefined || !group.isServing()) return { kind: 'not-serving' };
    if (client.writeCache === 'keep' && hasLun(group, client)) return { kind: 'ready' };
    const disk = this.#newDisk(client);
    if (disk.kind === 'none') return { kind: 'refused', reason: disk.reason };
    try {
      // Whatever session is left is from before the power went off; none of its writes may land in the new disk.
      this.#options.closeTarget(client.targetName);
      await this.#imageUses.make(client.portalGroup, group, disk.lun);
      return { kind: 'ready' };
    } catch (error) {
      if (error instanceof DeviceError && error.kind === 'not-serving') return { kind: 'not-serving' };
      return { kind: 'refused', reason: describeError(error) };
    }
  }

  /** See ImageUses. Of groups that are served here, by what is known of the cluster here. */
  usesOf(image: ImageVersionRef): Promise<readonly ImageUse[]> {
    const groups = Object.keys(this.#options.state()?.portalGroups ?? {}).flatMap(
      (id): [string, PortalGroup][] => {
        const group = this.#options.group(id);
        return group?.isServing() === true ? [[id, group]] : [];
      },
    );
    return this.#imageUses.of(new Map(groups), image);
  }

  /** Of a group that is served here: clients that are no more leave their disks behind. */
  dropWithoutClient(groupId: string): void {
    const state = this.#options.state();
    const group = this.#options.group(groupId);
    if (state === undefined || group === undefined || !group.isServing()) return;
    const wanted = new Set(Object.values(state.clients).map((client) => client.lunId));
    for (const lun of group.luns()) {
      if (wanted.has(lun.lunId)) continue;
      this.#options.logger.info('lun.drop', { lunId: lun.lunId, portalGroup: groupId });
      // A failure means that the group moved on; its next owner drops the LUN then.
      group.dropLun(lun.lunId).catch((error: unknown) => {
        this.#options.logger.warn('lun.drop-failed', { lunId: lun.lunId, reason: describeError(error) });
      });
    }
  }

  async #makeDisk(group: PortalGroup, client: ClientRecord): Promise<void> {
    const disk = this.#newDisk(client);
    if (disk.kind === 'none') throw new Error(disk.reason);
    await this.#imageUses.make(client.portalGroup, group, disk.lun);
  }

  /** What a client's disk is made of when it starts over, or why it cannot be made. */
  #newDisk(client: ClientRecord): NewDisk {
    const state = this.#options.state();
    if (state === undefined) return { kind: 'none', reason: 'the configuration is not known yet' };
    const chosen = chooseBootImage(state, client);
    if (chosen.kind === 'none') return chosen;
    return {
      kind: 'lun',
      lun: {
        lunId: client.lunId,
        base: { name: chosen.name, version: chosen.version.version },
        lengthBlocks: lunLengthBlocks(chosen.version.sizeBytes),
      },
    };
  }
}

type NewDisk =
  | { readonly kind: 'lun'; readonly lun: Parameters<PortalGroup['resetLun']>[0] }
  | { readonly kind: 'none'; readonly reason: string };

function hasLun(group: PortalGroup, client: ClientRecord): boolean {
  return group.luns().some((lun) => lun.lunId === client.lunId);
}
