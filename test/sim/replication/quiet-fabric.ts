import { CounterSet } from '../../../base/counters.ts';
import { silentLogger } from '../../../base/logger.ts';
import type { PeerTransport } from '../../../base/peer-transport.ts';
import { DiskSpace } from '../../../storage/replication/disk-space.ts';
import {
  type PortalGroup,
  type PortalGroupState,
  type ProposalOutcome,
  ReplicationHost,
  type ReplicationNode,
} from '../../../storage/replication/index.ts';
import { Network } from '../network.ts';
import { Process, World } from '../world.ts';
import { Disk } from './disk.ts';
import { simulatedImages } from './sectors.ts';

const NODES = ['n1', 'n2', 'n3'];
const LEASE_MS = 600;
export const DISK_BYTES = 64 * 1024 ** 3;

/** Three nodes with copies of some groups that n1 leads, in virtual time, where nothing goes wrong by itself. */
export class QuietFabric {
  readonly world: World;
  readonly network: Network;
  /** What is free of a node's disk, of DISK_BYTES; all of it where nothing is said. */
  readonly freeBytes = new Map<string, number>();
  /** Nothing is decided any more, and nobody knows what will come of what is proposed. */
  hasQuorum = true;
  /** Nodes that do not hear what is decided. */
  readonly untold = new Set<string>();
  /** Of what n1 serves, in order: from when on it does, or does not, or does not wait for its lease any more. */
  readonly service: { readonly atMs: number; readonly is: 'serving' | 'ceased' | 'given up' }[] = [];
  readonly #hosts = new Map<string, ReplicationHost>();
  readonly #processes = new Map<string, Process>();
  readonly #disks = new Map<string, Disk>();
  readonly #sentBytes = new Map<string, number>();
  readonly #counters = new Map<string, CounterSet>();
  readonly #nodes: ReplicationNode[];
  readonly #catchUp: number | undefined;
  #groups: PortalGroupState[];

  constructor(
    groupIds: readonly string[],
    options: {
      readonly msPerMib: number;
      readonly minInSync?: number;
      readonly seed?: number;
      /** Members may come into the set. */
      readonly letsIn?: boolean;
      readonly catchUpBytesPerSecond?: number;
    },
  ) {
    this.#catchUp = options.catchUpBytesPerSecond;
    const world = new World(options.seed ?? 1);
    this.world = world;
    this.network = new Network(world);
    const network = this.network;
    this.#nodes = NODES.map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1`, status: 'up' }));
    this.#groups = groupIds.map((id) => ({
      id,
      epoch: 1,
      primary: 'n1',
      inSync: NODES.map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` })),
      replicas: NODES,
      minInSync: options.minInSync ?? 1,
      durability: 'write-back',
    }));
    for (const nodeId of NODES) {
      const process = new Process(world, nodeId, `${nodeId}.1`);
      this.#processes.set(nodeId, process);
      const meta = new Disk(nodeId);
      this.#disks.set(nodeId, meta);
      for (const id of groupIds) {
        const disk = new Disk(`${nodeId}/${id}`);
        disk.msPerMib = options.msPerMib;
        this.#disks.set(disk.id, disk);
      }
      const counters = new CounterSet();
      this.#counters.set(nodeId, counters);
      const space = () =>
        Promise.resolve({ freeBytes: this.freeBytes.get(nodeId) ?? DISK_BYTES, totalBytes: DISK_BYTES });
      const host = new ReplicationHost({
        diskSpace: new DiskSpace({ space, clock: process, logger: silentLogger, counters }),
        nodeId,
        incarnation: process.incarnation,
        transport: this.#counted(network.attach(process)),
        openLog: (groupId) => Promise.resolve(this.disk(nodeId, groupId).openLog(process)),
        metaDirectory: meta.metaStore(process),
        images: simulatedImages(world, process),
        clock: process,
        timers: process,
        logger: silentLogger,
        counters,
        proposeShrink: (group, epoch, remove) => this.#shrink(process, group, epoch, remove),
        proposeHandOver: (group, epoch) => this.#handOver(process, group, epoch),
        proposeExpand: (group, epoch, add) =>
          options.letsIn === true ? this.#expand(process, group, epoch, add) : Promise.resolve('refused'),
        onFatal: (error) => {
          throw error;
        },
      });
      this.#hosts.set(nodeId, host);
      if (nodeId === 'n1') this.#watch(host);
      void host.start();
    }
    this.#tell();
  }

  #watch(host: ReplicationHost): void {
    const note = (is: 'serving' | 'ceased' | 'given up'): void => {
      this.service.push({ atMs: this.world.nowMs, is });
    };
    host.onServingChange((_, serving) => note(serving ? 'serving' : 'ceased'));
    host.onLapseEnd(() => note('given up'));
  }

  /** It stands still. */
  pause(nodeId: string, forMs: number): void {
    this.#processes.get(nodeId)?.pause(forMs);
  }

  /** Of all nodes. */
  count(event: string): number {
    return [...this.#counters.values()].reduce((sum, counters) => sum + counters.get(event), 0);
  }

  /** What has been handed to links for this node. */
  sentBytesTo(nodeId: string): number {
    return this.#sentBytes.get(nodeId) ?? 0;
  }

  #counted(transport: PeerTransport): PeerTransport {
    return {
      send: (to, parts) => {
        const lengthBytes = parts.reduce((sum, { length }) => sum + length, 0);
        this.#sentBytes.set(to, this.sentBytesTo(to) + lengthBytes);
        return transport.send(to, parts);
      },
      queuedBytes: (to) => transport.queuedBytes(to),
      isAbsent: (nodeId) => transport.isAbsent(nodeId),
      isUp: (nodeId) => transport.isUp(nodeId),
      onMessage: (handler) => transport.onMessage(handler),
      onLinkChange: (handler) => transport.onLinkChange(handler),
    };
  }

  disk(nodeId: string, groupId: string): Disk {
    return this.#disks.get(`${nodeId}/${groupId}`) as Disk;
  }

  /** Of the small files of all groups. */
  metaDisk(nodeId: string): Disk {
    return this.#disks.get(nodeId) as Disk;
  }

  process(nodeId: string): Process {
    return this.#processes.get(nodeId) as Process;
  }

  group(groupId: string, nodeId = 'n1'): PortalGroup {
    return this.#hosts.get(nodeId)?.group(groupId) as PortalGroup;
  }

  primary(groupId: string): string {
    return this.#groups.find((g) => g.id === groupId)?.primary ?? '';
  }

  inSync(groupId: string): readonly string[] {
    return (this.#groups.find((g) => g.id === groupId)?.inSync ?? []).map((m) => m.nodeId);
  }

  /** Takes a member out, or in again, as the cluster would. */
  setInSync(groupId: string, nodeIds: readonly string[]): void {
    this.#groups = this.#groups.map((group) =>
      group.id === groupId
        ? {
            ...group,
            epoch: group.epoch + 1,
            inSync: nodeIds.map((nodeId) => ({ nodeId, incarnation: `${nodeId}.1` })),
            primary: nodeIds.includes(group.primary ?? '') ? (group.primary ?? '') : (nodeIds[0] ?? ''),
          }
        : group,
    );
    this.#tell();
  }

  /** Makes another member primary, as the cluster would. */
  move(groupId: string, primary: string): void {
    this.#groups = this.#groups.map((group) =>
      group.id === groupId ? { ...group, epoch: group.epoch + 1, primary } : group,
    );
    this.#tell();
  }

  setMinInSync(groupId: string, minInSync: number): void {
    this.#groups = this.#groups.map((group) => (group.id === groupId ? { ...group, minInSync } : group));
    this.#tell();
  }

  #shrink(process: Process, groupId: string, epoch: number, remove: string): Promise<ProposalOutcome> {
    return this.#decide(process, groupId, epoch, (inSync) => inSync.filter((id) => id !== remove));
  }

  /** As the cluster would: one of the others leads, and the former primary is out of the set. */
  #handOver(process: Process, groupId: string, epoch: number): Promise<ProposalOutcome> {
    const primary = process.nodeId;
    const change = (inSync: readonly string[]) => inSync.filter((id) => id !== primary);
    const minInSync = this.#groups.find((g) => g.id === groupId)?.minInSync ?? 1;
    if (change(this.inSync(groupId)).length < minInSync) return Promise.resolve('refused');
    return this.#decide(process, groupId, epoch, change);
  }

  #expand(process: Process, groupId: string, epoch: number, add: string): Promise<ProposalOutcome> {
    return this.#decide(process, groupId, epoch, (inSync) => [...inSync, add]);
  }

  #decide(
    process: Process,
    groupId: string,
    epoch: number,
    change: (inSync: readonly string[]) => string[],
  ): Promise<ProposalOutcome> {
    return new Promise((resolve) => {
      this.world.after(5, () => {
        if (!this.hasQuorum) return process.enterAfter(1, () => resolve('unknown'));
        const inSync = change(this.inSync(groupId));
        const isCurrent = this.#groups.find((g) => g.id === groupId)?.epoch === epoch && inSync.length > 0;
        if (isCurrent) this.setInSync(groupId, inSync);
        process.enterAfter(1, () => resolve(isCurrent ? 'applied' : 'refused'));
      });
    });
  }

  #tell(): void {
    const pace = this.#catchUp === undefined ? {} : { catchUpBytesPerSecond: this.#catchUp };
    const state = { groups: this.#groups, nodes: this.#nodes, leaseMs: LEASE_MS, ...pace };
    for (const [nodeId, host] of this.#hosts) {
      if (this.untold.has(nodeId)) continue;
      this.#processes.get(nodeId)?.enterAfter(1, () => host.applyClusterState(state));
    }
  }

  async run(forMs: number): Promise<void> {
    await this.world.runUntil(this.world.nowMs + forMs, () => {});
  }

  /** Until the groups serve and have these disks. */
  async serve(disks: readonly { readonly group: string; readonly lunId: number }[]): Promise<void> {
    const groups = [...new Set(disks.map((d) => d.group))];
    for (let i = 0; i < 100 && !groups.every((id) => this.group(id)?.isServing()); i++) await this.run(50);
    const made = disks.map(({ group, lunId }) =>
      this.group(group).resetLun({ lunId, base: { name: 'image', version: 1 }, lengthBlocks: 65_536 }),
    );
    const progress = { isDone: false };
    void Promise.all(made).then(() => {
      progress.isDone = true;
    });
    for (let i = 0; i < 100 && !progress.isDone; i++) await this.run(50);
    if (!progress.isDone) throw new Error('the disks were not made');
  }

  /** Calls `work` now in the process of n1, and again as soon as it has ended; tells how long each time took. */
  repeat(work: () => Promise<void>, pauseMs = 0): { readonly tookMs: number[]; stop(): void } {
    const tookMs: number[] = [];
    let isOver = false;
    const process = this.#processes.get('n1') as Process;
    const turn = (): void => {
      if (isOver) return;
      const beganMs = this.world.nowMs;
      work().then(
        () => {
          tookMs.push(this.world.nowMs - beganMs);
          process.enterAfter(pauseMs, turn);
        },
        (error: unknown) => {
          if (!isOver) throw error;
        },
      );
    };
    process.enterAfter(0, turn);
    return {
      tookMs,
      stop: () => {
        isOver = true;
      },
    };
  }
}
