import { expect, it } from 'vitest';
import { ImageUses } from '../../../../node/portal/image-use.ts';
import { DeviceError } from '../../../../storage/block-device.ts';
import type { LunInfo, PortalGroup } from '../../../../storage/replication/portal-group.ts';

const OLD = { name: 'base', version: 1 };
const NEW = { name: 'base', version: 2 };

class Group {
  readonly disks: LunInfo[] = [];
  syncs = 0;
  onSync: () => void = () => {};
  resetting: Promise<void> = Promise.resolve();

  luns(): LunInfo[] {
    return [...this.disks];
  }

  async sync(): Promise<void> {
    this.syncs++;
    this.onSync();
  }

  resetLun(): Promise<void> {
    return this.resetting;
  }
}

const lun = (lunId: number, base: typeof OLD): LunInfo => ({ lunId, base, lengthBlocks: 8, writtenBytes: 0 });
const only = (group: Group): ReadonlyMap<string, PortalGroup> =>
  new Map([['g', group as unknown as PortalGroup]]);

it('are disks over that version, known durably', async () => {
  const group = new Group();
  group.disks.push(lun(1, OLD), lun(2, NEW), lun(3, { name: 'other', version: 1 }));
  expect(await new ImageUses().of(only(group), OLD)).toEqual([{ group: 'g', lunIds: [1] }]);
  expect(group.syncs).toBe(1);
});

it('are those, too, that went over to another while this was made durable', async () => {
  const group = new Group();
  group.disks.push(lun(1, OLD));
  group.onSync = () => group.disks.splice(0, 1, lun(1, NEW));
  expect(await new ImageUses().of(only(group), OLD)).toEqual([{ group: 'g', lunIds: [1] }]);
  expect(await new ImageUses().of(only(group), OLD)).toEqual([{ group: 'g', lunIds: [] }]);
});

it('are those, too, that are just being made', async () => {
  const group = new Group();
  let made = (): void => {};
  group.resetting = new Promise((resolve) => {
    made = resolve;
  });
  const uses = new ImageUses();
  const making = uses.make('g', group, { lunId: 7, base: OLD, lengthBlocks: 8 });
  expect(await uses.of(only(group), OLD)).toEqual([{ group: 'g', lunIds: [7] }]);
  made();
  await making;
  expect(await uses.of(only(group), OLD)).toEqual([{ group: 'g', lunIds: [] }]);
});

it('say nothing of a group that another node has taken over', async () => {
  const group = new Group();
  group.onSync = () => {
    throw new DeviceError('not-serving', 'it is led elsewhere');
  };
  expect(await new ImageUses().of(only(group), OLD)).toEqual([]);
});
