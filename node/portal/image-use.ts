import { DeviceError } from '../../storage/block-device.ts';
import type { ImageVersionRef } from '../../storage/image/image-source.ts';
import type { PortalGroup } from '../../storage/replication/portal-group.ts';
import type { ImageUse } from './worker-protocol.ts';

type NewLun = Parameters<PortalGroup['resetLun']>[0];

/** Which image versions the disks served here are over, those included that are just being made. */
export class ImageUses {
  readonly #making = new Map<string, Set<NewLun>>();

  /** Starts a disk over, as the group does. */
  async make(groupId: string, group: Pick<PortalGroup, 'resetLun'>, lun: NewLun): Promise<void> {
    const making = this.#making.get(groupId) ?? new Set();
    this.#making.set(groupId, making.add(lun));
    try {
      await group.resetLun(lun);
    } finally {
      making.delete(lun);
    }
  }

  /**
   * Of each group that is served here, the disks over that version. What is told not to be over it any more is not even after
   * a loss of power, on whatever member. A group that another node takes over meanwhile is left out.
   */
  async of(groups: ReadonlyMap<string, PortalGroup>, image: ImageVersionRef): Promise<readonly ImageUse[]> {
    const uses = await Promise.all(
      Array.from(groups, ([groupId, group]) => this.#ofGroup(groupId, group, image)),
    );
    return uses.flat();
  }

  async #ofGroup(groupId: string, group: PortalGroup, image: ImageVersionRef): Promise<ImageUse[]> {
    const before = this.#lunIdsOver(groupId, group, image);
    try {
      await group.sync();
    } catch (error) {
      if (error instanceof DeviceError && error.kind === 'not-serving') return [];
      throw error;
    }
    const lunIds = new Set([...before, ...this.#lunIdsOver(groupId, group, image)]);
    return [{ group: groupId, lunIds: [...lunIds] }];
  }

  #lunIdsOver(groupId: string, group: PortalGroup, { name, version }: ImageVersionRef): number[] {
    const all = [...group.luns(), ...(this.#making.get(groupId) ?? [])];
    const over = all.filter(({ base }) => base.name === name && base.version === version);
    return over.map(({ lunId }) => lunId);
  }
}
