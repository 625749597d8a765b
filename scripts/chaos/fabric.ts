import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { NodeStatusDocument } from '../../api/contract/status.ts';
import { TestCluster } from '../lab/cluster.ts';
import { Lab, SITE_ADDRESS } from '../lab/lab.ts';
import { kill, succeed, systemEnvironment } from '../lab/process-run.ts';
import { Clients } from './clients.ts';
import type { DiskOptions } from './stamped-disk.ts';

const SITE = 'site';
const IMAGE = 'chaos';
const IMAGE_BYTES = 32 * 1024 * 1024;
const WHOLE_TIMEOUT_MS = 240_000;
const CLIENTS_PROGRAM = resolve('dist/scripts/chaos/clients-main.js');
const LANES = 4;
const MAX_LAST_WORDS = 8;

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
  readonly #tracers = new Map<string, ChildProcess>();
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

  /** Makes every sync of a node's take `delayMs` longer, until told otherwise. */
  slowDisk(node: string, delayMs: number): void {
    const pid = this.cluster.processId(node);
    if (pid === undefined) return;
    const inject = `inject=fsync,fdatasync,pwrite64:delay_enter=${delayMs * 1000}`;
    const what = ['-f', '-qqq', '-o', '/dev/null', '-e', 'trace=fsync,fdatasync,pwrite64', '-e', inject];
    const tracer = spawn('strace', [...what, '-p', String(pid)], {
      stdio: 'ignore',
      env: systemEnvironment(),
    });
    this.#tracers.set(node, tracer);
  }

  async normalDisk(node: string): Promise<void> {
    const tracer = this.#tracers.get(node);
    this.#tracers.delete(node);
    if (tracer !== undefined) await kill(tracer, 'SIGINT');
  }

  /** Ends all nodes and copies their logs, and their data if wanted, into the folder. */
  async keepEvidence(folder: string, withData: boolean): Promise<void> {
    for (const node of this.#tracers.keys()) await this.normalDisk(node);
    await this.cluster.stop();
    mkdirSync(folder, { recursive: true });
    for (const node of this.nodeIds) {
      cpSync(this.cluster.logFile(node), join(folder, `${node}.log`));
      if (withData) cpSync(this.dataOf(node), join(folder, node), { recursive: true });
    }
  }

  async remove(): Promise<void> {
    for (const node of this.#tracers.keys()) await this.normalDisk(node);
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
