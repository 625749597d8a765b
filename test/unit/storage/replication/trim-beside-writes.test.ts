import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CounterSet } from '../../../../base/counters.ts';
import type { BlockDevice } from '../../../../storage/block-device.ts';
import type { MetaStore, ReplicationHost } from '../../../../storage/replication/index.ts';
import { MetaDirectory } from '../../../../storage/replication/meta-directory.ts';
import { eventually } from '../../../support/real-time.ts';
import { Exchange, makeHost, serving } from '../../../support/replicated-group.ts';

const FIRST = { nodeId: 'n1', incarnation: 'i1' };
const SECOND = { nodeId: 'n2', incarnation: 'i2' };
const MEMBERS = [FIRST, SECOND];
const BLOCK_BYTES = 4096;
const TRIM = { checkMs: 20, growthBytes: 32 * 1024, slackBytes: 64 * 1024 };
const SEGMENT_BYTES = 64 * 1024;
/** While the disk takes its time: far more than may be in flight when it begins to. */
const WRITES = 200;

let directory: string;
const hosts: ReplicationHost[] = [];
const disks: SlowDisk[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'trim-beside-writes-'));
});

afterEach(async () => {
  for (const disk of disks.splice(0)) disk.release();
  for (const host of hosts.splice(0)) await host.stop();
  await rm(directory, { recursive: true });
});

/** Meta files on a disk that takes as long as it is told to make one durable. */
class SlowDisk implements MetaStore {
  readonly #files: MetaDirectory;
  #held: Promise<void> | undefined;
  #release: () => void = () => {};
  #waiting = 0;
  /** Saves under way at a time, at most. */
  mostAtOnce = 0;
  #underWay = 0;

  constructor(path: string) {
    this.#files = new MetaDirectory(path);
  }

  get waiting(): number {
    return this.#waiting;
  }

  hold(): void {
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  release(): void {
    this.#held = undefined;
    this.#release();
  }

  load(groupId: string): Promise<Uint8Array | undefined> {
    return this.#files.load(groupId);
  }

  async save(groupId: string, bytes: Uint8Array): Promise<void> {
    this.#underWay++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#underWay);
    if (this.#held !== undefined) {
      this.#waiting++;
      await this.#held;
      this.#waiting--;
    }
    await this.#files.save(groupId, bytes);
    this.#underWay--;
  }
}

interface Member {
  readonly host: ReplicationHost;
  readonly disk: SlowDisk;
  readonly counters: CounterSet;
}

async function pair(): Promise<{ first: Member; second: Member; device: BlockDevice }> {
  const exchange = new Exchange();
  const [first, second] = MEMBERS.map((self) => {
    const counters = new CounterSet();
    const disk = new SlowDisk(join(directory, self.nodeId));
    disks.push(disk);
    const files = { trim: TRIM, segmentSizeBytes: SEGMENT_BYTES, metaStore: disk, counters };
    return { host: makeHost(directory, self, exchange, files), disk, counters };
  }) as [Member, Member];
  hosts.push(first.host, second.host);
  await Promise.all(hosts.map((host) => host.start()));
  exchange.connect(MEMBERS);
  tell(1);
  const group = await serving(first.host);
  await group.resetLun({ lunId: 1, base: { name: 'i', version: 1 }, lengthBlocks: 1024 });
  return { first, second, device: group.openDevice(1) as BlockDevice };
}

function tell(epoch: number): void {
  const group = { id: 'g', epoch, primary: 'n1', inSync: MEMBERS, replicas: ['n1', 'n2'] };
  for (const host of hosts) {
    host.applyClusterState({
      leaseMs: 800,
      groups: [{ ...group, minInSync: 1, durability: 'write-back' }],
      nodes: MEMBERS.map((m) => ({ ...m, status: 'up' as const })),
    });
  }
}

const write = (device: BlockDevice, i: number) =>
  device.write((i % 4) * 8, [Buffer.alloc(BLOCK_BYTES, i)], { forceUnitAccess: false });

it.each(['first', 'second'] as const)(
  'writes go on while a disk takes its time to note where the log of the %s begins',
  async (which) => {
    const parts = await pair();
    const { disk, counters } = parts[which];
    disk.hold();
    for (let i = 0; disk.waiting === 0; i++) await write(parts.device, i);
    // Each needs both copies: none could end if the effects of either stood still.
    for (let i = 0; i < WRITES; i++) await write(parts.device, i);
    expect(disk.waiting).toBe(1);
    expect(counters.get('replication.trimmed')).toBe(0);
    disk.release();
    await eventually('the head is gone', () => counters.get('replication.trimmed') > 0);
    expect(disk.mostAtOnce).toBe(1);
  },
);

it('an epoch is written down after where the log begins, not into the same file at the same time', async () => {
  const { first, device } = await pair();
  first.disk.hold();
  for (let i = 0; first.disk.waiting === 0; i++) await write(device, i);
  tell(2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(first.disk.waiting).toBe(1);
  first.disk.release();
  await eventually('it serves under the new epoch', () => first.host.group('g')?.isServing() === true);
  expect(first.disk.mostAtOnce).toBe(1);
});
