import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientListDocument } from '../../api/contract/clients.ts';
import { parseIpv4 } from '../../base/ipv4.ts';
import { parseMacAddress } from '../../base/mac-address.ts';
import { SeededRandom } from '../../base/random.ts';
import { DemoClient } from './demo-client.ts';
import { writeDemoImage } from './demo-image.ts';
import { LiveLines } from './live-lines.ts';
import { LOCAL_PORTS, LocalCluster } from './local-cluster.ts';

export interface LocalDemoOptions {
  readonly directory: string;
  readonly clients: number;
  readonly seconds: number;
  readonly keep: boolean;
}

const NODE_IDS = ['n1', 'n2', 'n3'] as const;
const PORTAL_COUNT = 6;
const IMAGE_BLOCKS = 4096;
const FILLED_BLOCKS = 512;
/** Bytes of the stand-in for a boot program that this host does not have; about what iPXE's have. */
const STAND_IN_BYTES = 90_000;

/** @returns 0 when nothing was lost and every reboot was pristine, else 1 */
export async function runLocalDemo(options: LocalDemoOptions): Promise<number> {
  const { directory } = options;
  const cluster = new LocalCluster({
    directory,
    nodeIds: NODE_IDS,
    portalCount: PORTAL_COUNT,
    network: demoNetwork(),
  });
  const stop = async (): Promise<void> => {
    await cluster.stop();
    process.exit(130);
  };
  const interrupted = (): void => void stop();
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    await prepare(cluster, directory);
    const clients = await registerClients(cluster, options.clients);
    const ok = await new Show(cluster, clients).run(options.seconds * 1000);
    if (options.keep) await keepRunning(cluster);
    return ok ? 0 : 1;
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    await cluster.stop();
  }
}

/** Addresses that another demo on this host hardly uses at the same time. */
function demoNetwork(): string {
  return `127.${64 + (process.pid % 128)}.${Math.floor(process.pid / 128) % 256}`;
}

async function prepare(cluster: LocalCluster, directory: string): Promise<void> {
  const startedMs = performance.now();
  await cluster.init();
  for (const nodeId of NODE_IDS) cluster.start(nodeId);
  await cluster.waitUntilServing(NODE_IDS.length);
  say(`three nodes are up and serve ${PORTAL_COUNT} portal groups`, startedMs);
  await bringBootPrograms(cluster, directory);
  const importedMs = performance.now();
  const image = join(directory, 'demo.raw');
  await writeDemoImage(image, IMAGE_BLOCKS * 4096, FILLED_BLOCKS);
  await cluster.cliJson(['image', 'import', 'demo', image]);
  say(`image "demo" (${(IMAGE_BLOCKS * 4) / 1024} MiB) is on every node`, importedMs);
}

/** iPXE is not ours to ship; where it is not installed, any bytes do for machines that are simulated. */
async function bringBootPrograms(cluster: LocalCluster, directory: string): Promise<void> {
  const { missing } = await cluster.status(NODE_IDS[0]);
  const absent = ['undionly.kpxe', 'snponly.efi'].filter((name) => missing.some((m) => m.includes(name)));
  for (const name of absent) {
    const file = join(directory, name);
    await writeFile(file, new SeededRandom(STAND_IN_BYTES).bytes(STAND_IN_BYTES));
    await cluster.cliJson(['boot-file', 'add', file]);
  }
  if (absent.length > 0)
    console.log(`  iPXE is not installed here: stand-ins were uploaded for ${absent.join(', ')}`);
}

async function registerClients(cluster: LocalCluster, count: number): Promise<DemoClient[]> {
  const startedMs = performance.now();
  const clients = Array.from({ length: count }, (_, i) => {
    const pair = (i + 1).toString(16).padStart(2, '0');
    return new DemoClient({
      number: i + 1,
      name: `pc${i + 1}`,
      mac: parseMacAddress(`52:54:00:bf:00:${pair}`),
      firmware: i % 2 === 0 ? 'bios' : 'uefi',
      relayAddress: parseIpv4(`${cluster.network}.${20 + i}`),
      servers: NODE_IDS.map((id) => parseIpv4(cluster.nodeAddress(id))),
      dhcpPort: LOCAL_PORTS.dhcp,
      tftpPort: LOCAL_PORTS.tftp,
      random: new SeededRandom(i + 1),
      imageBlocks: IMAGE_BLOCKS,
      filledBlocks: FILLED_BLOCKS,
    });
  });
  for (const [i, { options }] of clients.entries()) {
    const nodeId = NODE_IDS[i % NODE_IDS.length] as string;
    const add = ['client', 'add', options.name, '--mac', options.mac, '--image', 'demo', '--node', nodeId];
    await cluster.cliJson(add);
  }
  say(`${count} clients are registered, each at another node in turn`, startedMs);
  return clients;
}

function say(text: string, sinceMs: number): void {
  console.log(`  ${text} (${((performance.now() - sinceMs) / 1000).toFixed(1)} s)`);
}

/** What a client's run before the reboot gave. */
interface FirstRun {
  readonly bootMs: number;
  readonly reconnects: number;
}

/** The part people came for. */
class Show {
  readonly #cluster: LocalCluster;
  readonly #clients: readonly DemoClient[];
  readonly #lines: LiveLines;

  constructor(cluster: LocalCluster, clients: readonly DemoClient[]) {
    this.#cluster = cluster;
    this.#clients = clients;
    this.#lines = new LiveLines(clients, process.stdout);
  }

  async run(writingMs: number): Promise<boolean> {
    this.#lines.start();
    try {
      this.#lines.say('\nAll machines are switched on at once.');
      await this.#all((client) => client.boot());
      for (const client of this.#clients) client.startWriting();
      await sleep(writingMs / 2);
      await this.#killServingNode();
      await sleep(writingMs / 2);
      await this.#all((client) => client.stopWriting());
      this.#lines.say('Every block that was acknowledged is read back.');
      await this.#all((client) => client.checkWritten());
      this.#lines.say('All machines are switched off and on again.');
      const firstRun = this.#clients.map(({ bootMs, reconnects }) => ({ bootMs, reconnects }));
      await this.#all((client) => client.powerOff());
      await this.#all(async (client) => {
        await client.boot();
        await client.checkWholeDiskPristine();
      });
      this.#lines.stop();
      this.#printTable(firstRun);
    } finally {
      this.#lines.stop();
      await this.#all((client) => client.powerOff());
    }
    return this.#clients.every((client) => client.lost === 0);
  }

  async #all(work: (client: DemoClient) => Promise<void>): Promise<void> {
    await Promise.all(this.#clients.map(work));
  }

  /** Kills the node whose death most clients will notice. */
  async #killServingNode(): Promise<void> {
    const served = await this.#clientsByPrimary();
    const [victim, count] = [...served].reduce((most, entry) => (entry[1] > most[1] ? entry : most));
    const pid = this.#cluster.processId(victim);
    this.#lines.say(`Node ${victim}, which serves ${count} of them, is killed: kill -9 ${pid}`);
    const killedMs = performance.now();
    await this.#cluster.kill(victim);
    await this.#cluster.waitUntilServing(2);
    const tookMs = performance.now() - killedMs;
    this.#lines.say(
      `Its portal groups are served by the others (seen after ${(tookMs / 1000).toFixed(1)} s).`,
    );
  }

  async #clientsByPrimary(): Promise<Map<string, number>> {
    const { portalGroups } = await this.#cluster.status(NODE_IDS[0]);
    const { clients } = (await this.#cluster.cliJson(['client', 'list'])) as ClientListDocument;
    const served = new Map<string, number>();
    for (const client of clients) {
      const primary = portalGroups.find((group) => group.id === client.portalGroup)?.primary;
      if (primary !== null && primary !== undefined) served.set(primary, (served.get(primary) ?? 0) + 1);
    }
    return served;
  }

  #printTable(firstRun: readonly FirstRun[]): void {
    const header = [
      'CLIENT',
      'FIRMWARE',
      'PORTAL',
      'BOOT',
      'ACKNOWLEDGED',
      'RECONNECTS',
      'PAUSE',
      'CHECKED',
      'LOST',
      'REBOOT',
    ];
    const rows = this.#clients.map((client, i) => [
      client.options.name,
      client.options.firmware,
      client.portal,
      seconds(firstRun[i]?.bootMs ?? 0),
      String(client.acknowledged),
      String(firstRun[i]?.reconnects ?? 0),
      seconds(client.longestPauseMs),
      `${client.checked} blocks`,
      String(client.lost),
      client.stage,
    ]);
    const widths = header.map((title, column) =>
      Math.max(title.length, ...rows.map((r) => r[column]?.length ?? 0)),
    );
    for (const row of [header, ...rows]) {
      console.log(
        row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd(),
      );
    }
    const total = (count: (client: DemoClient) => number): number =>
      this.#clients.reduce((sum, client) => sum + count(client), 0);
    const moved = this.#clients.filter((_, i) => (firstRun[i]?.reconnects ?? 0) > 0);
    const worstMs = Math.max(0, ...moved.map((client) => client.longestPauseMs));
    console.log(
      `\n${total((c) => c.acknowledged)} writes acknowledged, ${total((c) => c.lost)} lost; ` +
        `${moved.length} clients moved to another node, the longest pause was ${seconds(worstMs)}.`,
    );
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

async function keepRunning(cluster: LocalCluster): Promise<void> {
  console.log('\nThe cluster stays up until you interrupt it (Ctrl-C).');
  for (const nodeId of NODE_IDS) {
    const state = cluster.processId(nodeId) === undefined ? 'killed' : `process ${cluster.processId(nodeId)}`;
    console.log(
      `  ${nodeId}  https://${cluster.nodeAddress(nodeId)}:7443/api/v1  ${state}  log: ${cluster.logFile(nodeId)}`,
    );
  }
  console.log(`\n  export BOOTFABRIC_PROFILE=${cluster.profile}\n  node dist/api/cli/main.js status`);
  await new Promise<never>(() => {});
}
