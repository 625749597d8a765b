import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestImage } from '../guest-image/build.ts';
import { TestCluster } from './cluster.ts';
import { LAB_SUBNET, Lab, SITE_ADDRESS } from './lab.ts';

const NODES = [
  { id: 'n1', address: '10.77.0.11' },
  { id: 'n2', address: '10.77.0.12' },
  { id: 'n3', address: '10.77.0.13' },
];
const SITE = 'site';
const IMAGE = 'guest';
const WHOLE_TIMEOUT_MS = 60_000;
/** For all of startBootLab. Where this version of the guest's image is not kept yet, it is made first. */
export const BOOT_LAB_START_TIMEOUT_MS = 1_200_000;

export interface BootLab {
  readonly lab: Lab;
  readonly cluster: TestCluster;
  readonly folder: string;
  readonly site: string;
  readonly nodes: readonly string[];
  readonly image: string;
  remove(): Promise<void>;
}

/** Three nodes and the site's own station on one network, the guest's image imported. */
export async function startBootLab(dhcpArguments: readonly string[]): Promise<BootLab> {
  const image = guestImage();
  const folder = mkdtempSync(join(tmpdir(), 'bootfabric-boot-'));
  const stations = [
    ...NODES.map(({ id, address }) => ({ name: id, address })),
    { name: SITE, address: SITE_ADDRESS },
  ];
  const lab = new Lab(stations);
  const portals = ['10.77.0.101', '10.77.0.102', '10.77.0.103'];
  const cluster = new TestCluster({
    folder,
    nodes: NODES,
    portals,
    initArguments: ['--portal-interface', 'eth0', '--dhcp-interface', 'eth0', ...dhcpArguments],
    commandAt: (node, command, args) => lab.commandAt(node ?? SITE, command, args),
  });
  const remove = async (): Promise<void> => {
    await cluster.stop();
    lab.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await cluster.start();
    await cluster.waitUntilWhole(WHOLE_TIMEOUT_MS);
    await cluster.importImage(IMAGE, image);
  } catch (error) {
    const logs = cluster.allLogTails();
    await remove();
    throw new Error(`the cluster did not come up: ${String(error)}\n${logs}`, { cause: error });
  }
  return { lab, cluster, folder, site: SITE, nodes: NODES.map(({ id }) => id), image: IMAGE, remove };
}

export const FULL_DHCP = [
  '--dhcp',
  'full',
  '--dhcp-subnet',
  LAB_SUBNET,
  '--dhcp-range',
  '10.77.0.150-10.77.0.199',
];
export const PROXY_DHCP = ['--dhcp', 'proxy'];
