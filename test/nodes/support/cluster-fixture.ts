import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll } from 'vitest';
import type { ClientDocument } from '../../../api/contract/clients.ts';
import type { NodeStatusDocument } from '../../../api/contract/status.ts';
import { parseIpv4 } from '../../../base/ipv4.ts';
import { parseMacAddress } from '../../../base/mac-address.ts';
import { SeededRandom } from '../../../base/random.ts';
import { writeDemoImage } from '../../../scripts/demo/demo-image.ts';
import { LOCAL_PORTS, LocalCluster, type LocalClusterOptions } from '../../../scripts/demo/local-cluster.ts';
import type { BootTarget } from '../../../scripts/simulator/boot-script.ts';
import { connectInitiator, type Initiator } from '../../../scripts/simulator/iscsi-initiator.ts';
import { networkBoot } from '../../../scripts/simulator/network-boot.ts';

export const NODE_IDS = ['n1', 'n2', 'n3'] as const;
export const API_PORT = 7443;
export const PEER_PORT = 7400;
export const REPLICATION_PORT = 7401;
export const IMAGE_BLOCKS = 1024;
export const FILLED_BLOCKS = 64;
const START_TIMEOUT_MS = 90_000;
const API_TIMEOUT_MS = 10_000;
const STAND_IN_BYTES = 40_000;
const NOTHING_DONE = /"code":"(no-leader|unreachable)"/;

export interface AdminProfile {
  readonly token: string;
  readonly caCertificate: string;
  readonly clusterId: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly json: unknown;
}

export type Prepare = (cluster: LocalCluster) => Promise<void>;
export type FixtureOptions = Pick<LocalClusterOptions, 'workers' | 'supervised'> &
  Partial<Pick<LocalClusterOptions, 'portalCount'>>;

/** Three node processes shared by the tests of one file, with an image "base" and boot programs. */
export class ClusterFixture {
  readonly directory: string;
  readonly cluster: LocalCluster;
  readonly profile: AdminProfile;
  #nextRelay = 20;

  constructor(directory: string, cluster: LocalCluster, profile: AdminProfile) {
    this.directory = directory;
    this.cluster = cluster;
    this.profile = profile;
  }

  /**
   * @param prepare what comes between making the cluster's files and starting its nodes
   */
  static async start(
    network: string,
    prepare?: Prepare,
    options: FixtureOptions = {},
  ): Promise<ClusterFixture> {
    const directory = await mkdtemp(join(tmpdir(), 'bootfabric-nodes-'));
    const cluster = new LocalCluster({ directory, nodeIds: NODE_IDS, portalCount: 3, network, ...options });
    try {
      await cluster.init();
      await prepare?.(cluster);
      for (const id of NODE_IDS) cluster.start(id);
      await cluster.waitUntilServing(NODE_IDS.length);
      const profile = JSON.parse(await readFile(cluster.profile, 'utf8')) as AdminProfile;
      const fixture = new ClusterFixture(directory, cluster, profile);
      await fixture.#bringContent();
      return fixture;
    } catch (error) {
      await cluster.stop();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  async #bringContent(): Promise<void> {
    const { missing } = await this.cluster.status(NODE_IDS[0]);
    for (const name of ['undionly.kpxe', 'snponly.efi']) {
      if (!missing.some((line) => line.includes(name))) continue;
      const file = this.path(name);
      await writeFile(file, new SeededRandom(STAND_IN_BYTES).bytes(STAND_IN_BYTES));
      await this.cluster.cliJson(['boot-file', 'add', file]);
    }
    const image = this.path('base.raw');
    await writeDemoImage(image, IMAGE_BLOCKS * 4096, FILLED_BLOCKS);
    await this.cluster.cliJson(['image', 'import', 'base', image]);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** An administrator's command, tried again where nothing was done, as while a leader is elected. */
  async insist(args: readonly string[], withinMs = 20_000): Promise<unknown> {
    const deadlineMs = performance.now() + withinMs;
    for (;;) {
      try {
        return await this.cluster.cliJson(args);
      } catch (error) {
        if (!NOTHING_DONE.test(String(error)) || performance.now() > deadlineMs) throw error;
        await sleep(200);
      }
    }
  }

  async addClient(name: string, mac: string, ...more: string[]): Promise<ClientDocument> {
    const args = ['client', 'add', name, '--mac', mac, '--image', 'base', ...more];
    return (await this.cluster.cliJson(args)) as ClientDocument;
  }

  /** From power-on until the boot script names the disk. */
  boot(mac: string): Promise<BootTarget> {
    return networkBoot({
      mac: parseMacAddress(mac),
      relayAddress: parseIpv4(`${this.cluster.network}.${this.#nextRelay++}`),
      servers: NODE_IDS.map((id) => parseIpv4(this.cluster.nodeAddress(id))),
      dhcpPort: LOCAL_PORTS.dhcp,
      tftpPort: LOCAL_PORTS.tftp,
      random: new SeededRandom(this.#nextRelay),
      deadlineMs: 20_000,
    });
  }

  /** Waits a little for a portal that is being moved. */
  async attach(target: BootTarget, within = 10_000): Promise<Initiator> {
    const deadlineMs = performance.now() + within;
    for (;;) {
      try {
        return await connectInitiator({
          host: target.portalAddress,
          port: target.portalPort,
          targetName: target.targetName,
          initiatorName: target.initiatorName,
          lun: target.lun,
        });
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
        await sleep(50);
      }
    }
  }

  /** One request to a node's API, as any HTTPS client would make it. */
  api(nodeId: string, path: string, token: string | null = this.profile.token): Promise<ApiAnswer> {
    return this.#ask(nodeId, { path, token });
  }

  /** Uploads a file as an image, as any HTTPS client would. */
  async upload(nodeId: string, image: string, file: string): Promise<ApiAnswer> {
    const body = await readFile(file);
    const path = `/api/v1/images/${image}/versions?sizeBytes=${body.length}`;
    return this.#ask(nodeId, { path, token: this.profile.token, body });
  }

  #ask(
    nodeId: string,
    { path, token, body }: { path: string; token: string | null; body?: Uint8Array },
  ): Promise<ApiAnswer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: this.cluster.nodeAddress(nodeId),
          port: API_PORT,
          path,
          method: body === undefined ? 'GET' : 'PUT',
          agent: false,
          ca: this.profile.caCertificate,
          headers: {
            ...(token === null ? {} : { authorization: `Bearer ${token}` }),
            ...(body === undefined ? {} : { 'content-type': 'application/octet-stream' }),
          },
          timeout: API_TIMEOUT_MS,
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', reject);
          response.on('end', () => {
            const json = JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
            resolve({ status: response.statusCode ?? 0, json });
          });
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error('the API did not answer in time')));
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  async status(nodeId: string): Promise<NodeStatusDocument> {
    const { status, json } = await this.api(nodeId, '/api/v1/status');
    if (status !== 200) throw new Error(`status of ${nodeId} answered ${status}`);
    return json as NodeStatusDocument;
  }

  async counter(nodeId: string, ...names: readonly string[]): Promise<number> {
    const { counters } = await this.status(nodeId);
    return Object.entries(counters)
      .filter(([name]) => names.some((n) => (n.endsWith('*') ? name.startsWith(n.slice(0, -1)) : name === n)))
      .reduce((sum, [, count]) => sum + count, 0);
  }

  processIds(): (number | undefined)[] {
    return NODE_IDS.map((id) => this.cluster.processId(id));
  }

  /** The end of every node's log, for the message of a test that failed. */
  async logTails(lines = 12): Promise<string> {
    const tails = NODE_IDS.map(async (id) =>
      (await this.log(id)).trimEnd().split('\n').slice(-lines).join('\n'),
    );
    return (await Promise.all(tails)).join('\n\n');
  }

  log(nodeId: string): Promise<string> {
    return readFile(this.cluster.logFile(nodeId), 'utf8');
  }
}

/** Starts one cluster for all tests of a file. @param network three octets that no other file uses */
export function clusterForFile(
  network: string,
  prepare?: Prepare,
  options?: FixtureOptions,
): () => ClusterFixture {
  let fixture: ClusterFixture | undefined;
  beforeAll(async () => {
    fixture = await ClusterFixture.start(network, prepare, options);
  }, START_TIMEOUT_MS);
  afterAll(async () => {
    await fixture?.stop();
  }, START_TIMEOUT_MS);
  return () => {
    if (fixture === undefined) throw new Error('the cluster has not started');
    return fixture;
  };
}

/** Asks again and again until the condition holds. @throws Error with `what` and the last problem */
export async function until(
  what: string,
  condition: () => Promise<boolean>,
  withinMs = 15_000,
): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  let problem = '';
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      problem = `: ${String(error)}`;
    }
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${withinMs} ms${problem}`);
    await sleep(100);
  }
}
