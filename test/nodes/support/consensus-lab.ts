import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeededRandom } from '../../../base/random.ts';
import { writeDemoImage } from '../../../scripts/demo/demo-image.ts';
import { TestCluster } from '../../../scripts/lab/cluster.ts';
import { Lab, SITE_ADDRESS } from '../../../scripts/lab/lab.ts';
import type { Requirements } from '../../../scripts/lab/requirements.ts';
import { enterNamespace, homeNamespacePath } from '../../interop/namespaces.ts';
import { ConsensusTrouble, type Trouble } from './consensus-trouble.ts';
import { RegistryClients, showOperation } from './registry-clients.ts';

const NODES = [
  { id: 'n1', address: '10.77.0.11' },
  { id: 'n2', address: '10.77.0.12' },
  { id: 'n3', address: '10.77.0.13' },
];
const SITE = 'site';
const IMAGE = 'base';
const API_PORT = 7443;
const WHOLE_TIMEOUT_MS = 90_000;
const MAX_SERIES = 256;
const IMAGE_BYTES = 1024 * 1024;

export const CONSENSUS_LAB_NEEDS: Requirements = {
  root: true,
  commands: ['ip', 'sysctl'],
  files: ['/dev/net/tun'],
  enableWith: 'apt-get install --no-install-recommends iproute2 procps (and run as root)',
};

export interface ChaosOutcome {
  readonly operations: number;
  readonly counts: RegistryClients['counts'];
  readonly troubles: Readonly<Record<Trouble, number>>;
  /** What cannot be explained; empty: all is well. */
  readonly faults: readonly string[];
  /** Histories given up on because they would take too long. */
  readonly undecided: number;
}

export interface ConsensusLabOptions {
  /** Addresses of portal groups. */
  readonly portals?: readonly string[];
}

/** Three real nodes with a network of their own; this process is a station of it until it is removed. */
export class ConsensusLab {
  readonly lab: Lab;
  readonly cluster: TestCluster;
  readonly nodes = NODES;
  readonly #folder: string;
  #series = 0;

  private constructor(lab: Lab, cluster: TestCluster, folder: string) {
    this.lab = lab;
    this.cluster = cluster;
    this.#folder = folder;
  }

  static async start({ portals = ['10.77.0.101'] }: ConsensusLabOptions = {}): Promise<ConsensusLab> {
    const folder = mkdtempSync(join(tmpdir(), 'bootfabric-consensus-'));
    const stations = NODES.map(({ id, address }) => ({ name: id, address }));
    const lab = new Lab([...stations, { name: SITE, address: SITE_ADDRESS }]);
    const cluster = new TestCluster({
      folder,
      nodes: NODES,
      portals,
      initArguments: ['--portal-interface', 'eth0'],
      commandAt: (node, command, args) => lab.commandAt(node ?? SITE, command, args),
    });
    const made = new ConsensusLab(lab, cluster, folder);
    try {
      enterNamespace(lab.namespacePath(SITE));
      await cluster.start();
      await cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
      const image = join(folder, 'base.raw');
      await writeDemoImage(image, IMAGE_BYTES, 1);
      await cluster.importImage(IMAGE, image);
      return made;
    } catch (error) {
      await made.remove();
      throw error;
    }
  }

  async remove(): Promise<void> {
    await this.cluster.stop();
    enterNamespace(homeNamespacePath);
    this.lab.remove();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  registryClients(reads: 'linearizable' | 'local', seed: number): RegistryClients {
    const profile = JSON.parse(readFileSync(this.cluster.profile, 'utf8')) as {
      readonly token: string;
      readonly caCertificate: string;
    };
    return new RegistryClients({
      nodes: NODES.map(({ id, address }) => ({ id, host: address, port: API_PORT })),
      token: profile.token,
      caCertificate: profile.caCertificate,
      random: new SeededRandom(seed),
      image: IMAGE,
      series: this.#series++ % MAX_SERIES,
      reads,
    });
  }

  /**
   * Clients through every node, and troubles; then everything is mended, the cluster must become whole and take
   * changes again, and what the clients were told is examined.
   * @throws Error when a node ended by itself, or the cluster did not recover
   */
  async chaos(seed: number, durationMs: number): Promise<ChaosOutcome> {
    const clients = this.registryClients('linearizable', seed);
    const trouble = new ConsensusTrouble(this, new SeededRandom(seed + 1));
    clients.start();
    trouble.start();
    await sleep(durationMs);
    await trouble.stop();
    await this.cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
    const before = clients.counts.changes;
    const deadlineMs = performance.now() + WHOLE_TIMEOUT_MS;
    while (clients.counts.changes < before + 20) {
      this.cluster.check();
      if (performance.now() > deadlineMs) throw new Error('the mended cluster takes no changes');
      await sleep(50);
    }
    await clients.stop();
    return examine(clients, trouble.counts);
  }
}

export function examine(clients: RegistryClients, troubles: Readonly<Record<Trouble, number>>): ChaosOutcome {
  const faults = [...clients.odd];
  let undecided = 0;
  for (const { name, verdict } of clients.check()) {
    if (verdict.kind === 'undecided') undecided++;
    if (verdict.kind !== 'violation') continue;
    const story = verdict.before.map(showOperation).join('\n  ');
    faults.push(`${name}: ${showOperation(verdict.stuckAt)} cannot be explained after\n  ${story}`);
  }
  return { operations: clients.operations, counts: clients.counts, troubles, faults, undecided };
}

/** No trouble at all. */
export const NO_TROUBLE: Readonly<Record<Trouble, number>> = {
  kill: 0,
  pause: 0,
  unplug: 0,
  cut: 0,
  deafen: 0,
};
