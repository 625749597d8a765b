import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeStatusDocument } from '../../api/contract/status.ts';
import { EXIT_CODE } from '../../base/exit-code.ts';
import { TestCluster } from '../lab/cluster.ts';
import { allBelow, DiskTrouble, SYNC_CALLS, type Trouble, WRITE_CALLS } from '../lab/disk-trouble.ts';
import { Lab, SITE_ADDRESS } from '../lab/lab.ts';
import { succeed } from '../lab/process-run.ts';
import { Clients } from './clients.ts';
import type { DiskOptions } from './stamped-disk.ts';

const SITE = 'site';
const IMAGE = 'chaos';
const IMAGE_BYTES = 32 * 1024 * 1024;
const WHOLE_TIMEOUT_MS = 240_000;
const CLIENTS_PROGRAM = resolve('dist/scripts/chaos/clients-main.js');
const LANES = 4;
const MAX_LAST_WORDS = 8;
/** A node whose disk fails is to end with the next thing that it makes durable, which clients see to. */
const END_TIMEOUT_MS = 60_000;
const END_POLL_MS = 10_000;
/** Its end is told of a moment after strace's. */
const END_NOTED_MS = 1_000;

export interface FabricOptions {
  readonly nodes: number;
  readonly clients: number;
  /** Of each node's own disk, which is in memory. */
  readonly diskMib: number;
  readonly stepsPerSecond: number;
  /** Data-plane workers of each node; absent: one. */
  readonly workers?: number;
  /** All clients' disks are of this one; absent: the nodes choose. */
  readonly portalGroup?: string;
}

/** Whether every group is served with all its replicas in sync. */
export function isWhole({ portalGroups }: NodeStatusDocument): boolean {
  return (
    portalGroups.length > 0 &&
    portalGroups.every((group) => group.primary !== null && group.inSync.length === group.replicas.length)
  );
}

/** A cluster in network namespaces, each node with a small disk of its own, and initiators at work on it. */
export class ChaosFabric {
  readonly nodeIds: readonly string[];
  readonly lab: Lab;
  readonly cluster: TestCluster;
  readonly folder: string;
  /** Ends of node processes nobody asked for, and that are no answer to being fenced. */
  readonly unexpectedEnds: string[] = [];
  /** What was in the log of each, at most so many. */
  readonly lastWords: string[] = [];
  readonly #options: FabricOptions;
  readonly #addresses: ReadonlyMap<string, string>;
  readonly #mounted: string[] = [];
  readonly #troubles = new Map<string, DiskTrouble>();
  /** Nodes that are to end since their disk fails, and who waits for that. */
  readonly #failing = new Map<string, () => void>();
  #disks: DiskOptions[] = [];

  constructor(options: FabricOptions) {
    this.#options = options;
    this.nodeIds = Array.from({ length: options.nodes }, (_, i) => `n${i + 1}`);
    this.#addresses = new Map(this.nodeIds.map((id, i) => [id, `10.77.0.${11 + i}`]));
    this.folder = mkdtempSync(join(tmpdir(), 'bootfabric-chaos-'));
    const nodes = this.nodeIds.map((id) => ({ id, address: this.addressOf(id) }));
    this.lab = new Lab([
      ...nodes.map(({ id, address }) => ({ name: id, address })),
      { name: SITE, address: SITE_ADDRESS },
    ]);
    this.cluster = new TestCluster({
      folder: this.folder,
      nodes,
      portals: nodes.flatMap((_, i) => [`10.77.0.${101 + 2 * i}`, `10.77.0.${102 + 2 * i}`]),
      initArguments: [
        ...['--portal-interface', 'eth0', '--dhcp', 'off'],
        ...(options.workers === undefined ? [] : ['--workers', String(options.workers)]),
      ],
      commandAt: (node, command, args) => this.lab.commandAt(node ?? SITE, command, args),
      beforeStart: (directoryOf) => this.#makeDisks(directoryOf),
      onExit: (node, code) => this.#ended(node, code),
    });
  }

  addressOf(node: string): string {
    return this.#addresses.get(node) ?? '';
  }

  dataOf(node: string): string {
    return join(this.cluster.directoryOf(node), 'data');
  }

  /** Starts the nodes and gives each client a disk. */
  async start(): Promise<void> {
    await this.cluster.start();
    await this.whole(WHOLE_TIMEOUT_MS);
    const file = join(this.folder, 'image.raw');
    writeFileSync(file, Buffer.alloc(IMAGE_BYTES));
    await this.cluster.importImage(IMAGE, file);
    for (let client = 1; client <= this.#options.clients; client++) await this.#addClient(client);
  }

  /** Starts the initiators' process at the site. */
  clients(): Clients {
    const args = ['--enable-source-maps', CLIENTS_PROGRAM];
    return new Clients(this.lab.spawnAt(SITE, process.execPath, args, ['pipe', 'pipe', 'inherit']));
  }

  get disks(): readonly DiskOptions[] {
    return this.#disks;
  }

  /** Waits until every group is served with all its replicas in sync. */
  async whole(timeoutMs: number): Promise<NodeStatusDocument> {
    return await this.cluster.waitForStatus('every portal group whole', isWhole, timeoutMs);
  }

  /** An administrator's move; one that is refused since the node is no longer in sync is none. */
  async moveGroup(group: string, to: string): Promise<void> {
    try {
      await this.cluster.admin(['portal-group', 'move', group, to]);
    } catch (error) {
      if (!/not-in-sync|not-up|already-primary|stale-epoch/.test(String(error))) throw error;
    }
  }

  /** Makes all writes and syncs of a node's take `delayMs` longer, until told otherwise. */
  async slowDisk(node: string, delayMs: number): Promise<void> {
    const calls = [...SYNC_CALLS, ...WRITE_CALLS];
    const trouble = await this.#trouble(node, { calls, inject: `delay_enter=${delayMs * 1000}` });
    if (trouble !== undefined) this.#troubles.set(node, trouble);
  }

  async normalDisk(node: string): Promise<void> {
    const trouble = this.#troubles.get(node);
    this.#troubles.delete(node);
    await trouble?.end();
  }

  /**
   * From now on nothing that a node has of its groups can be made durable, until it has ended by that.
   * @throws Error when it goes on all the same, or says something else of its end
   */
  async failSyncs(node: string): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#failing.set(node, resolve));
    const deadlineMs = performance.now() + END_TIMEOUT_MS;
    while (this.#failing.has(node)) {
      if (performance.now() > deadlineMs) throw new Error(`${node} goes on though its disk fails to sync`);
      const only = allBelow(join(this.dataOf(node), 'groups'));
      const trouble = await this.#trouble(node, { calls: SYNC_CALLS, inject: 'error=EIO', only });
      // It may be fenced meanwhile, and is another process then.
      await Promise.race([ended, trouble?.over ?? sleep(END_NOTED_MS), sleep(END_POLL_MS)]);
      await trouble?.end();
      await Promise.race([ended, sleep(END_NOTED_MS)]);
    }
  }

  /** @returns undefined where the node does not run, or ends just now */
  async #trouble(node: string, what: Trouble): Promise<DiskTrouble | undefined> {
    const processId = this.cluster.processId(node);
    if (processId === undefined) return undefined;
    try {
      return await DiskTrouble.of(processId, what);
    } catch (error) {
      if (this.cluster.processId(node) === processId) throw error;
      return undefined;
    }
  }

  /** Ends all nodes and copies their logs, and their data if wanted, into the folder. */
  async keepEvidence(folder: string, withData: boolean): Promise<void> {
    for (const node of this.#troubles.keys()) await this.normalDisk(node);
    await this.cluster.stop();
    mkdirSync(folder, { recursive: true });
    for (const node of this.nodeIds) {
      cpSync(this.cluster.logFile(node), join(folder, `${node}.log`));
      if (withData) cpSync(this.dataOf(node), join(folder, node), { recursive: true });
    }
  }

  async remove(): Promise<void> {
    for (const node of this.#troubles.keys()) await this.normalDisk(node);
    await this.cluster.stop();
    this.lab.remove();
    for (const path of this.#mounted.splice(0)) succeed('umount', [path]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #makeDisks(directoryOf: (node: string) => string): void {
    for (const node of this.nodeIds) {
      const path = join(directoryOf(node), 'data');
      mkdirSync(path, { recursive: true });
      const size = `size=${this.#options.diskMib}m`;
      succeed('mount', ['-t', 'tmpfs', '-o', size, 'bootfabric-chaos', path]);
      this.#mounted.push(path);
    }
  }

  #ended(node: string, code: number | null): void {
    const failing = this.#failing.get(node);
    if (failing !== undefined && code === EXIT_CODE.storage) {
      this.#failing.delete(node);
      failing();
      return;
    }
    this.unexpectedEnds.push(`${node} ended with ${code}`);
    if (this.lastWords.length < MAX_LAST_WORDS) this.lastWords.push(this.cluster.logTail(node));
    this.cluster.startNode(node);
  }

  async #addClient(client: number): Promise<void> {
    const name = `c${client}`;
    const mac = `52:54:00:cc:00:${client.toString(16).padStart(2, '0')}`;
    const { portalGroup, stepsPerSecond } = this.#options;
    const where = portalGroup === undefined ? [] : ['--portal-group', portalGroup];
    const added = await this.cluster.addClient(name, mac, IMAGE, where);
    const [host = '', port = ''] = added.portal.split(':');
    this.#disks.push({
      ...{ client, host, port: Number(port), lanes: LANES, stepsPerSecond },
      ...{ targetName: added.targetName, initiatorName: added.initiatorName },
      blocks: IMAGE_BYTES / 4096,
    });
  }
}
