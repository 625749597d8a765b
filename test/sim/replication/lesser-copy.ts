import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import { decodeGroupRecord } from '../../../storage/lun/log-record.ts';
import { type PortalGroup, ReplicationHost } from '../../../storage/replication/index.ts';
import { Network } from '../network.ts';
import { Process, World } from '../world.ts';
import { Authority, type Change, firstGroup } from './authority.ts';
import { Disk } from './disk.ts';
import { simulatedImages } from './sectors.ts';

export const GROUP = 'g';
const NODES = ['n1', 'n2', 'n3'];
const LEASE_MS = 400;
/** As long as a process of the past may hold the group up. */
const SETTLE_MS = 3_000;
/** Several messages' worth, so that a member can be left with a part. */
const BLOCKS = 768;
const BLOCK_BYTES = 4096;
const BLOCKS_AT_ONCE = 16;

interface Node {
  readonly disk: Disk;
  readonly process: Process;
  readonly host: ReplicationHost;
}

/** Three members of a group, whose processes end and come back when the test says so. */
export class LesserCopy {
  readonly world: World;
  readonly authority: Authority;
  readonly #network: Network;
  readonly #nodes = new Map<string, Node>();
  readonly #disks = new Map(NODES.map((nodeId) => [nodeId, new Disk(nodeId)]));
  readonly #trims: boolean;
  #starts = 0;

  /** @param options.trims the heads of logs are let go of, so that members start over from a list of LUNs */
  constructor(options: { readonly seed: number; readonly trims: boolean }) {
    this.#trims = options.trims;
    this.world = new World(options.seed);
    this.#network = new Network(this.world);
    const policy = { minInSync: 1, durability: 'write-back' } as const;
    this.authority = new Authority(this.world, firstGroup(GROUP, NODES, policy), LEASE_MS, false);
  }

  disk(nodeId: string): Disk {
    return this.#disks.get(nodeId) as Disk;
  }

  disks(): Disk[] {
    return [...this.#disks.values()];
  }

  group(nodeId: string): PortalGroup | undefined {
    return this.#nodes.get(nodeId)?.host.group(GROUP);
  }

  start(nodeId: string): void {
    const { world, authority } = this;
    const process = new Process(world, nodeId, `${nodeId}.${++this.#starts}`);
    const disk = this.disk(nodeId);
    const propose = (change: Change) => authority.propose(process, change);
    const host = new ReplicationHost({
      nodeId,
      incarnation: process.incarnation,
      transport: this.#network.attach(process),
      openLog: (_group, _mustExist, verifyFrom) => disk.openLog(process, verifyFrom),
      metaDirectory: disk.metaStore(process),
      checkpoints: disk.checkpointStore(process),
      images: simulatedImages(world, process),
      clock: process,
      timers: process,
      logger: silentLogger,
      counters: new CounterSet(),
      proposeShrink: (_, epoch, remove) => propose({ kind: 'shrink', epoch, primary: nodeId, remove }),
      proposeHandOver: (_, epoch) => propose({ kind: 'handOver', epoch, primary: nodeId }),
      proposeExpand: (_, epoch, add, incarnation) =>
        propose({ kind: 'expand', epoch, primary: nodeId, add, incarnation }),
      onFatal: (error) => {
        throw error;
      },
      letGo: () => Promise.resolve(),
      trim: {
        checkMs: 50,
        growthBytes: this.#trims ? 20_000 : 1 << 30,
        slackBytes: 1 << 30,
        checkpointBytes: 30_000,
        holdMs: 30,
        nearRecords: 4,
      },
    });
    this.#nodes.set(nodeId, { disk, process, host });
    void host.start();
    authority.listen(process, (state) => host.applyClusterState(state));
    process.enterAfter(10, () => authority.register(process, disk.id));
  }

  /** Its process ends, and the cluster knows. */
  end(nodeId: string): void {
    const { process } = this.#nodes.get(nodeId) as Node;
    process.kill();
    this.#network.detach(process);
    this.authority.fence(nodeId, process.incarnation);
  }

  isRunning(nodeId: string): boolean {
    return this.#nodes.get(nodeId)?.process.isAlive === true;
  }

  /** It ends, and nothing that it had asked of its disk is done any more. */
  cutShort(nodeId: string): void {
    const asNow = this.disk(nodeId).copy();
    this.end(nodeId);
    this.#disks.set(nodeId, asNow);
  }

  async run(forMs: number): Promise<void> {
    await this.world.runUntil(this.world.nowMs + forMs, () => {});
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const untilMs = this.world.nowMs + 10 * SETTLE_MS;
    while (!holds()) {
      if (this.world.nowMs > untilMs) throw new Error(`${what} did not come to pass`);
      await this.run(10);
    }
  }

  async serving(nodeId: string): Promise<PortalGroup> {
    await this.until(`${nodeId} serves`, () => this.group(nodeId)?.isServing() === true);
    return this.group(nodeId) as PortalGroup;
  }

  async inSync(nodeIds: readonly string[]): Promise<void> {
    await this.until(`${nodeIds.join()} are in sync`, () => {
      const members = this.authority.group.inSync.map((m) => m.nodeId);
      return members.length === nodeIds.length && nodeIds.every((id) => members.includes(id));
    });
  }

  async makeDisk(nodeId: string, lunId = 1): Promise<void> {
    const made = (await this.serving(nodeId)).resetLun({
      lunId,
      base: { name: 'image', version: 1 },
      lengthBlocks: (BLOCKS * BLOCK_BYTES) / 512,
    });
    await this.#ended(made);
  }

  /** Writes all blocks, the last ones first, once for each of these values; nothing of it can be lost then. */
  async write(nodeId: string, values: readonly number[], lunId = 1): Promise<void> {
    const device = (await this.serving(nodeId)).openDevice(lunId);
    if (device === undefined) throw new Error(`${nodeId} does not have the disk`);
    for (const value of values) {
      for (let block = BLOCKS - BLOCKS_AT_ONCE; block >= 0; block -= BLOCKS_AT_ONCE) {
        const data = Buffer.alloc(BLOCKS_AT_ONCE * BLOCK_BYTES, value);
        await this.#ended(device.write(block * 8, [data], { forceUnitAccess: false }));
      }
      await this.#ended(device.flush());
    }
  }

  async read(nodeId: string, block: number): Promise<number> {
    const device = (await this.serving(nodeId)).openDevice(1);
    if (device === undefined) throw new Error(`${nodeId} does not have the disk`);
    return Buffer.concat(await this.#ended(device.read(block * 8, 8)))[0] as number;
  }

  async #ended<T>(work: Promise<T>): Promise<T> {
    const outcome: { value?: T; error?: unknown; isOver: boolean } = { isOver: false };
    work.then(
      (value) => Object.assign(outcome, { value, isOver: true }),
      (error: unknown) => Object.assign(outcome, { error, isOver: true }),
    );
    await this.until('an operation', () => outcome.isOver);
    if (outcome.error !== undefined) throw outcome.error;
    return outcome.value as T;
  }

  /** Records of a log that stand for others which it has not reached yet. */
  holes(nodeId: string): number {
    const disk = this.disk(nodeId);
    return disk.records.filter(({ payload }) => {
      const record = decodeGroupRecord(payload);
      return record.kind === 'void' && record.untilIndex > disk.nextIndex;
    }).length;
  }
}
