import { beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../../base/logger.ts';
import type { ClientRecord, ClusterState } from '../../../../cluster/state/model.ts';
import { ClientDisks } from '../../../../node/portal/client-disks.ts';
import { type BlockDevice, DeviceError } from '../../../../storage/block-device.ts';
import type { LunInfo, PortalGroup } from '../../../../storage/replication/portal-group.ts';
import { imageVersion, labGenesis } from './lab-genesis.ts';

type NewLun = Parameters<PortalGroup['resetLun']>[0];

/** A portal group as far as disks are made in it. Resets are under way until they are let through. */
class Group {
  serving = true;
  readonly disks: LunInfo[] = [];
  readonly resets: NewLun[] = [];
  readonly dropped: number[] = [];
  /** In the order in which they happened. */
  readonly events: string[] = [];
  failure: Error | undefined;
  through: Promise<void> = Promise.resolve();

  isServing(): boolean {
    return this.serving;
  }

  luns(): LunInfo[] {
    return [...this.disks];
  }

  async resetLun(lun: NewLun): Promise<void> {
    this.resets.push(lun);
    this.events.push(`reset ${lun.lunId}`);
    await this.through;
    if (this.failure !== undefined) throw this.failure;
    this.disks.push({ ...lun, writtenBytes: 0 });
  }

  async dropLun(lunId: number): Promise<void> {
    this.dropped.push(lunId);
    if (this.failure !== undefined) throw this.failure;
  }

  openDevice(lunId: number): BlockDevice {
    return `device ${lunId}` as unknown as BlockDevice;
  }

  standbyDevice(lunId: number): BlockDevice {
    return `standby ${lunId}` as unknown as BlockDevice;
  }
}

const client: ClientRecord = {
  name: 'pc1',
  macs: ['52:54:00:00:00:01'],
  image: 'win',
  writeCache: 'discard',
  portalGroup: 'g1',
  lunId: 7,
  targetName: 'target-1',
  initiatorName: 'initiator-1',
};
const keeping: ClientRecord = { ...client, writeCache: 'keep' };
const made: NewLun = { lunId: 7, base: { name: 'win', version: 3 }, lengthBlocks: 8 };
const existing = (lunId: number): LunInfo => ({ ...made, lunId, writtenBytes: 0 });

function stateOf(clients: readonly ClientRecord[], holders: string[]): ClusterState {
  const genesis = labGenesis(['n1']);
  return {
    ...genesis,
    clients: Object.fromEntries(clients.map((c) => [c.name, c])),
    images: { win: { name: 'win', versions: [imageVersion(3, holders)] } },
  };
}

let group: Group;
let state: ClusterState | undefined;
let disks: ClientDisks;

beforeEach(() => {
  group = new Group();
  state = stateOf([client], ['n1']);
  disks = new ClientDisks({
    state: () => state,
    group: (groupId) => (groupId === 'g1' ? (group as unknown as PortalGroup) : undefined),
    closeTarget: (targetName) => group.events.push(`close ${targetName}`),
    logger: silentLogger,
  });
});

describe('a disk that is logged in to', () => {
  it('is made once, however many come at once', async () => {
    let letThrough = (): void => {};
    group.through = new Promise((resolve) => {
      letThrough = resolve;
    });
    const opened = [disks.open('g1', client), disks.open('g1', client)];
    letThrough();
    expect(await Promise.all(opened)).toEqual(['device 7', 'device 7']);
    expect(group.resets).toEqual([made]);
  });

  it('is opened as it is where there is one', async () => {
    group.disks.push(existing(7));
    expect(await disks.open('g1', client)).toBe('device 7');
    expect(group.resets).toEqual([]);
  });

  it('is not there where it cannot be made, and is tried again by the next', async () => {
    group.failure = new DeviceError('no-space', 'the disk is full');
    expect(await disks.open('g1', client)).toBeUndefined();
    group.failure = undefined;
    expect(await disks.open('g1', client)).toBe('device 7');
    expect(group.resets).toHaveLength(2);
  });

  it('is not made over a version that an in-sync replica does not hold', async () => {
    state = stateOf([client], []);
    expect(await disks.open('g1', client)).toBeUndefined();
    expect(group.resets).toEqual([]);
  });

  it('is not there where its group is not served, but in standby', async () => {
    group.serving = false;
    expect(await disks.open('g1', client)).toBeUndefined();
    expect(disks.openStandby('g1', client)).toBe('standby 7');
    expect(disks.openStandby('g2', client)).toBeUndefined();
  });
});

describe('a client that is about to boot', () => {
  it('has its discarded write cache dropped, once no session of before can write any more', async () => {
    group.disks.push(existing(7));
    expect(await disks.beginBoot('pc1')).toEqual({ kind: 'ready' });
    expect(group.events).toEqual(['close target-1', 'reset 7']);
  });

  it('finds a disk that it keeps as it was, and its sessions too', async () => {
    state = stateOf([keeping], ['n1']);
    expect(await disks.beginBoot('pc1')).toEqual({ kind: 'ready' });
    expect(group.resets).toEqual([made]);
    expect(await disks.beginBoot('pc1')).toEqual({ kind: 'ready' });
    expect(group.resets).toEqual([made]);
  });

  it('is told what stands against it', async () => {
    expect(await disks.beginBoot('pc2')).toEqual({ kind: 'not-serving' });
    group.failure = new DeviceError('not-serving', 'it is led elsewhere');
    expect(await disks.beginBoot('pc1')).toEqual({ kind: 'not-serving' });
    group.failure = new DeviceError('no-space', 'the disk is full');
    expect(await disks.beginBoot('pc1')).toEqual({ kind: 'refused', reason: 'the disk is full' });
    state = stateOf([client], []);
    expect(await disks.beginBoot('pc1')).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('not every in-sync'),
    });
    group.serving = false;
    expect(await disks.beginBoot('pc1')).toEqual({ kind: 'not-serving' });
  });
});

describe('disks that no client has', () => {
  beforeEach(() => {
    group.disks.push(existing(7), existing(8));
  });

  it('are dropped', () => {
    disks.dropWithoutClient('g1');
    expect(group.dropped).toEqual([8]);
  });

  it('are left to the next owner where the group has moved on', async () => {
    group.failure = new DeviceError('not-serving', 'it is led elsewhere');
    disks.dropWithoutClient('g1');
    await Promise.resolve();
    expect(group.dropped).toEqual([8]);
  });

  it('are left alone where the group is not served, or who has which is not known', () => {
    group.serving = false;
    disks.dropWithoutClient('g1');
    group.serving = true;
    state = undefined;
    disks.dropWithoutClient('g1');
    expect(group.dropped).toEqual([]);
  });
});
