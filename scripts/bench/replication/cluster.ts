import { execFile } from 'node:child_process';
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ClientListDocument } from '../../../api/contract/clients.ts';
import { LocalCluster } from '../../demo/local-cluster.ts';
import { connectInitiator, type Initiator } from '../../simulator/iscsi-initiator.ts';
import { cpuSeconds } from '../consensus/processes.ts';

/** The disk that is measured, and the one that is written to while a node is away. */
const MEASURED = 'bench';
const FILLED = 'filled';
const BLOCK_BYTES = 512;
/** Each look is a TLS connection, which costs the nodes as well. */
const POLL_MS = 50;
const RETURN_TIMEOUT_MS = 300_000;
const FENCED_TIMEOUT_MS = 20_000;
const LOGIN_ATTEMPTS = 50;
const LOGIN_PAUSE_MS = 200;
/** One write of those that fill a disk, and how many at a time. */
const FILL_BYTES = 262_144;
const FILL_DEPTH = 8;
/** How a target counts connections that it dropped, by reason. */
const DROPPED = 'iscsi.connection.dropped.';
/** Of each node's log, where something went wrong. */
const LAST_LINES = 25;
const FILLED_DISK_BYTES = 1024 ** 3;

/** How a member came back. */
export interface CatchUp {
  /** From the first time that the primary said it was catching up until it was in sync. */
  readonly seconds: number;
  /** What its log grew by: what was written meanwhile and, over an empty disk, all else that is in use of the disk's. */
  readonly lengthBytes: number;
  readonly megabytesPerSecond: number;
  /** Processor time of all nodes. */
  readonly cpuSecondsPerGigabyte: number;
  /** What the primary's process read meanwhile, of files and connections, to one byte of the length. */
  readonly primaryReadRatio: number;
}

/** Which processors who is kept to, as of `taskset --cpu-list`. */
export interface Pins {
  readonly serving: number | string;
  readonly others: number | string;
}

/** A cluster of real nodes on loopback with one portal group, of which each node has a copy, and one disk. */
export class BenchCluster {
  readonly copies: number;
  readonly #cluster: LocalCluster;
  readonly #nodeIds: readonly string[];
  readonly #directory: string;
  #initiator: Initiator | undefined;
  #filled: Initiator | undefined;

  constructor(directory: string, copies: number) {
    this.copies = copies;
    this.#directory = join(directory, `copies-${copies}`);
    this.#nodeIds = Array.from({ length: copies }, (_, i) => `n${i + 1}`);
    const network = `127.${64 + (process.pid % 128)}.${((process.pid >> 7) + copies * 80) % 256}`;
    this.#cluster = new LocalCluster({
      directory: this.#directory,
      nodeIds: this.#nodeIds,
      portalCount: 1,
      network,
    });
  }

  /** @param diskBytes of the disk that is measured, which is written over so many times before this ends */
  async start(diskBytes: number, timesOver: number): Promise<void> {
    await this.#cluster.init();
    for (const nodeId of this.#nodeIds) this.#cluster.start(nodeId);
    await this.#cluster.waitUntilServing(this.copies);
    this.#initiator = await this.#newDisk(MEASURED, '52:54:00:bf:be:01', diskBytes);
    await fill(this.#initiator, diskBytes * timesOver);
  }

  /** A client with an empty disk of its own, logged in. */
  async #newDisk(name: string, mac: string, diskBytes: number): Promise<Initiator> {
    const image = join(this.#directory, `${name}.raw`);
    await writeFile(image, '');
    await truncate(image, diskBytes);
    await this.#cluster.cliJson(['image', 'import', name, image]);
    const add = ['client', 'add', name, '--mac', mac, '--image', name];
    await this.#cluster.cliJson([...add, '--node', this.#nodeIds[0] as string]);
    return this.#logIn(name);
  }

  async #logIn(name: string): Promise<Initiator> {
    const { clients } = (await this.#cluster.cliJson(['client', 'list'])) as ClientListDocument;
    const client = clients.find((c) => c.name === name);
    if (client === undefined) throw new Error('the client that was registered is not listed');
    const { targetName, initiatorName } = client;
    const [host, port] = client.portal.split(':') as [string, string];
    for (let attempt = 1; ; attempt++) {
      try {
        return await connectInitiator({
          host,
          port: Number(port),
          targetName,
          initiatorName,
        });
      } catch (error) {
        // The disk is made at the first login, once the image is there.
        if (attempt === LOGIN_ATTEMPTS) throw error;
        await sleep(LOGIN_PAUSE_MS);
      }
    }
  }

  get initiator(): Initiator {
    if (this.#initiator === undefined) throw new Error('the cluster has not been started');
    return this.#initiator;
  }

  cpuSeconds(): number {
    return cpuSeconds(this.#nodeIds.flatMap((id) => this.#cluster.processId(id) ?? []));
  }

  /**
   * Keeps the process of the node that serves to processors, and those of the others to others.
   * @throws where `taskset` is missing, or refuses
   */
  async pin({ serving, others }: Pins): Promise<void> {
    const primary = (await this.#group())?.primary;
    for (const nodeId of this.#nodeIds) {
      const pid = this.#cluster.processId(nodeId);
      if (pid !== undefined) await keepTo(nodeId === primary ? serving : others, pid);
    }
  }

  /** A node dies, so much is written, and it comes back; with another disk if `isWiped`. */
  async awayAndBack(writtenBytes: number, isWiped: boolean): Promise<CatchUp> {
    const away = await this.#backupId();
    const { portalGroups } = await this.#cluster.status(away);
    const groupId = portalGroups[0]?.id as string;
    this.#filled ??= await this.#newDisk(FILLED, '52:54:00:bf:be:02', FILLED_DISK_BYTES);
    await this.#cluster.kill(away);
    await this.#untilInSync(away, false, FENCED_TIMEOUT_MS);
    await fill(this.#filled, writtenBytes);
    const groups = join(this.#cluster.nodeDirectory(away), 'data', 'groups');
    const copy = join(groups, groupId);
    if (isWiped) {
      await rm(copy, { recursive: true });
      await rm(join(groups, `${groupId}.meta`));
    }
    this.#cluster.start(away);
    const startMs = await this.#untilCatchingUp(away);
    const cpuBefore = this.cpuSeconds();
    const primary = this.#cluster.processId((await this.#group())?.primary ?? '');
    const readBefore = await readBytesOf(primary);
    await this.#untilInSync(away, true, RETURN_TIMEOUT_MS);
    const seconds = (performance.now() - startMs) / 1_000;
    const readBytes = (await readBytesOf(primary)) - readBefore;
    const lengthBytes = isWiped ? await sizeOfFiles(join(copy, 'log')) : writtenBytes;
    const cpuSecondsPerGigabyte = (this.cpuSeconds() - cpuBefore) / (lengthBytes / 1e9);
    const megabytesPerSecond = lengthBytes / 1e6 / seconds;
    const primaryReadRatio = readBytes / lengthBytes;
    return { seconds, lengthBytes, megabytesPerSecond, cpuSecondsPerGigabyte, primaryReadRatio };
  }

  async #group() {
    for (const nodeId of this.#nodeIds) {
      if (this.#cluster.processId(nodeId) === undefined) continue;
      // One that has just been started does not answer yet.
      const status = await this.#cluster.status(nodeId).catch(() => undefined);
      const group = status?.portalGroups.find((g) => g.serving);
      if (group !== undefined) return group;
    }
    return undefined;
  }

  async #backupId(): Promise<string> {
    const group = await this.#group();
    const backup = this.#nodeIds.find((id) => group !== undefined && id !== group.primary);
    if (backup === undefined) throw new Error('no node has a copy beside the primary');
    return backup;
  }

  async #untilInSync(nodeId: string, wanted: boolean, timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (performance.now() < endMs) {
      if ((await this.#group())?.inSync.includes(nodeId) === wanted) return;
      await sleep(POLL_MS);
    }
    const log = this.#cluster.logFile(nodeId);
    throw new Error(
      `node ${nodeId} is ${wanted ? 'not ' : 'still '}in sync after ${timeoutMs / 1_000} s; see ${log}`,
    );
  }

  async #untilCatchingUp(nodeId: string): Promise<number> {
    const endMs = performance.now() + RETURN_TIMEOUT_MS;
    while (performance.now() < endMs) {
      const group = await this.#group();
      if (group?.catchUp.some((c) => c.nodeId === nodeId) === true || group?.inSync.includes(nodeId) === true)
        break;
      await sleep(POLL_MS);
    }
    return performance.now();
  }

  /**
   * What the nodes know of a connection that was lost in the middle of the work, their logs being about to go: why the
   * targets dropped connections, and the last of what the nodes said in their logs.
   */
  async whyLost(): Promise<string> {
    const told = this.#nodeIds.map(async (nodeId) => {
      const isUp = this.#cluster.processId(nodeId) !== undefined;
      const status = isUp ? await this.#cluster.status(nodeId).catch(() => undefined) : undefined;
      const drops = Object.entries(status?.counters ?? {}).filter(([name]) => name.startsWith(DROPPED));
      const dropped = drops.map(([name, count]) => `${name.slice(DROPPED.length)} ${count}`).join(', ');
      const log = await readFile(this.#cluster.logFile(nodeId), 'utf8').catch(() => '');
      const lines = log.trimEnd().split('\n').slice(-LAST_LINES).join('\n  ');
      const state = status === undefined ? 'does not answer' : `dropped: ${dropped || 'none'}`;
      return `${nodeId} ${state}\n  ${lines}`;
    });
    return (await Promise.all(told)).join('\n');
  }

  async stop(): Promise<void> {
    this.#initiator?.destroy();
    this.#filled?.destroy();
    await this.#cluster.stop();
  }
}

/**
 * Keeps all threads of a process, and those and the processes that it is going to have, to processors.
 * @param processors as of `taskset --cpu-list`
 */
export async function keepTo(processors: number | string, pid: number): Promise<void> {
  await promisify(execFile)('taskset', [
    '--all-tasks',
    '--cpu-list',
    '--pid',
    String(processors),
    String(pid),
  ]);
}

/** Writes so much in order from the beginning of the disk; more than it holds: over and over. */
async function fill(initiator: Initiator, lengthBytes: number): Promise<void> {
  const data = Buffer.alloc(FILL_BYTES, 0xa5);
  const places = Math.floor((initiator.capacity.blocks * BLOCK_BYTES) / FILL_BYTES);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next * FILL_BYTES < lengthBytes) {
      const place = next++ % places;
      await initiator.write((place * FILL_BYTES) / BLOCK_BYTES, data);
    }
  };
  await Promise.all(Array.from({ length: FILL_DEPTH }, lane));
  await initiator.flush();
}

/** What a process has read so far, by any system call; 0 of one that is not there. */
async function readBytesOf(pid: number | undefined): Promise<number> {
  if (pid === undefined) return 0;
  const counts = await readFile(`/proc/${pid}/io`, 'utf8');
  return Number(/^rchar: (\d+)$/m.exec(counts)?.[1] ?? 0);
}

async function sizeOfFiles(directory: string): Promise<number> {
  let sizeBytes = 0;
  for (const name of await readdir(directory)) sizeBytes += (await stat(join(directory, name))).size;
  return sizeBytes;
}
