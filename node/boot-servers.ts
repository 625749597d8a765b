import { type Ipv4, parseIpv4 } from '../base/ipv4.ts';
import type { MacAddress } from '../base/mac-address.ts';
import type { ClusterView } from '../cluster/ports.ts';
import type { BootPrograms } from './boot-programs.ts';
import { clientByMac } from './boot-service.ts';
import { DEFAULT_BOOT_FILES } from './dhcp/boot-decision.ts';
import type { BootClient } from './dhcp/ports.ts';
import { type DhcpEndpoint, type DhcpServer, startDhcpServer } from './dhcp/server.ts';
import { bootUrls } from './http-boot/boot-urls.ts';
import type { BootService } from './http-boot/ports.ts';
import { startHttpBootServer } from './http-boot/server.ts';
import { interfaceIpv4 } from './net/interface-address.ts';
import { openInterfaceUdp } from './net/interface-udp.ts';
import type { NodeContext } from './node-context.ts';
import { describeMissingProgram } from './node-services.ts';
import { systemClock, systemTimers } from './system.ts';
import { startTftpServer } from './tftp/server.ts';

/** What BIOS and x64 UEFI machines are given; a node that lacks one of these says so. */
export const DEFAULT_PROGRAMS: readonly string[] = [DEFAULT_BOOT_FILES.bios, DEFAULT_BOOT_FILES['efi-x64']];

export interface BootServers {
  close(): Promise<void>;
}

/** DHCP, TFTP and HTTP: everything a machine meets before its disk. */
export async function startBootServers(
  context: NodeContext,
  cluster: ClusterView,
  boot: BootService,
  programs: BootPrograms,
): Promise<BootServers> {
  const { directory, logger, counters } = context;
  const { config } = directory;
  const secret = Buffer.from(directory.clusterSecret, 'hex');
  const tftp = await startTftpServer({
    address: config.address,
    port: config.ports.tftp,
    files: programs,
    clock: systemClock,
    timers: systemTimers,
    logger: logger('tftp'),
    counters,
  });
  const http = await startHttpBootServer({
    address: config.address,
    port: config.ports.http,
    clients: { nameByMac: (mac) => clientByMac(cluster.state(), mac)?.name },
    boot,
    files: programs,
    secret: () => secret,
    nodeEndpoints: () => httpEndpoints(cluster),
    clock: systemClock,
    timers: systemTimers,
    logger: logger('http-boot'),
    counters,
  });
  const dhcp = await startDhcp(context, cluster, secret);
  await warnOfMissing(context, cluster, programs);
  return {
    close: async () => {
      await dhcp?.close();
      await tftp.close();
      await http.close();
    },
  };
}

/** This node first, then those that are up, then the rest. */
function httpEndpoints(cluster: ClusterView): string[] {
  const rank = (nodeId: string, status: string): number => {
    if (nodeId === cluster.nodeId) return 0;
    return status === 'up' ? 1 : 2;
  };
  return Object.values(cluster.state().nodes)
    .sort((a, b) => rank(a.nodeId, a.status) - rank(b.nodeId, b.status))
    .map((node) => node.endpoints.http);
}

async function startDhcp(
  context: NodeContext,
  cluster: ClusterView,
  secret: Uint8Array,
): Promise<DhcpServer | undefined> {
  const { config } = context.directory;
  if (cluster.state().settings.dhcp.mode === 'off') return undefined;
  const onInterfaces = config.dhcp.interfaces.map(
    (interfaceName): DhcpEndpoint => ({
      kind: 'interface',
      interfaceName,
      localAddress: interfaceIpv4(interfaceName),
    }),
  );
  const atAddress: DhcpEndpoint = {
    kind: 'address',
    localAddress: config.address,
    port: config.ports.dhcp,
    bootServerPort: config.ports.pxe,
  };
  const urls = bootUrls(config.ports.http, () => secret);
  return startDhcpServer({
    endpoints: onInterfaces.length > 0 ? onInterfaces : [atAddress],
    environment: () => ({
      settings: cluster.state().settings.dhcp,
      bootFiles: DEFAULT_BOOT_FILES,
      directory: { byMac: (mac) => bootClient(cluster, mac) },
      urls,
      isFenced: (server) => isFencedNode(cluster, server),
    }),
    openInterfaceUdp,
    clock: systemClock,
    logger: context.logger('dhcp'),
    counters: context.counters,
  });
}

/** Known by the address that its other services have; one for DHCP alone is nobody's to the other nodes. */
function isFencedNode(cluster: ClusterView, server: Ipv4): boolean {
  return Object.values(cluster.state().nodes).some(
    ({ status, endpoints }) => status === 'fenced' && endpoints.http.startsWith(`${server}:`),
  );
}

function bootClient(cluster: ClusterView, mac: MacAddress): BootClient | undefined {
  const client = clientByMac(cluster.state(), mac);
  if (client === undefined) return undefined;
  return {
    name: client.name,
    initiatorName: client.initiatorName,
    ...(client.address === undefined ? {} : { address: parseIpv4(client.address) }),
  };
}

async function warnOfMissing(
  context: NodeContext,
  cluster: ClusterView,
  programs: BootPrograms,
): Promise<void> {
  if (cluster.state().settings.dhcp.mode === 'off') return;
  for (const name of await programs.missing(DEFAULT_PROGRAMS)) {
    context.logger('boot').warn('boot.program.missing', { what: describeMissingProgram(name) });
  }
}
