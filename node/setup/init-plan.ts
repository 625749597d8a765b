import type { Ipv4 } from '../../base/ipv4.ts';
import type { DhcpSettings } from '../../cluster/state/model.ts';
import { checkPortsDiffer, DEFAULT_PORTS, type NodeConfig, PORT_NAMES, type PortName } from '../config.ts';
import type { InitOptions } from './init-options.ts';
import { planDhcp } from './init-plan-dhcp.ts';
import {
  checkInterface,
  checkName,
  isLoopback,
  parseHostAddress,
  parsePort,
  planDataPlane,
  refuse,
} from './init-values.ts';
import { MAX_NODES, MAX_PORTAL_GROUPS } from './limits.ts';

/** A new cluster, checked: everything in it fits together. */
export interface InitPlan {
  readonly clusterName: string;
  readonly nodes: readonly PlannedNode[];
  readonly ports: Readonly<Record<PortName, number>>;
  readonly portals: readonly PlannedPortal[];
  readonly portalInterface: string | null;
  readonly dataPlane: NodeConfig['dataPlane'];
  readonly dhcp: DhcpSettings;
  readonly dhcpInterfaces: readonly string[];
  readonly ipxeDir: string;
}

export interface PlannedNode {
  readonly nodeId: string;
  readonly address: Ipv4;
}

export interface PlannedPortal {
  readonly address: Ipv4;
  readonly port: number;
}

/** @throws OperationError kind "invalid": names the option, its value and what is accepted */
export function planCluster(options: InitOptions): InitPlan {
  const clusterName = checkName('--cluster', options.cluster);
  const ports = parsePorts(options.ports);
  const nodes = parseNodes(options.node);
  const portals = parsePortals(options.portal, ports.iscsi);
  checkPortalsAgainstNodes(portals, nodes, ports);
  const portalInterface = checkPortalInterface(options.portalInterface, portals);
  const taken = [...nodes, ...portals].map((holder) => holder.address);
  return {
    clusterName,
    nodes,
    ports,
    portals,
    portalInterface,
    dataPlane: planDataPlane(options.workers).dataPlane,
    dhcp: planDhcp(options, taken),
    dhcpInterfaces: parseInterfaces(options.dhcpInterface ?? []),
    ipxeDir: options.ipxeDir,
  };
}

export function parsePorts(text: string | undefined): Record<PortName, number> {
  const ports: Record<PortName, number> = { ...DEFAULT_PORTS };
  for (const item of text === undefined ? [] : text.split(',')) {
    const [name = '', number = '', ...more] = item.split('=');
    const known = PORT_NAMES.find((n) => n === name.trim());
    if (known === undefined || more.length > 0) {
      throw refuse(
        `--ports: "${item}" names no service`,
        'bad-port',
        item,
        `NAME=PORT, NAME being one of ${PORT_NAMES.join(', ')}`,
      );
    }
    ports[known] = parsePort('--ports', number.trim(), item);
  }
  checkPortsDiffer(ports, '--ports');
  return ports;
}

function parseNodes(texts: readonly string[]): PlannedNode[] {
  if (texts.length > MAX_NODES) {
    throw refuse('--node: too many nodes', 'too-many-nodes', texts.length, `1 to ${MAX_NODES} nodes`);
  }
  const nodes: PlannedNode[] = [];
  for (const text of texts) {
    const at = text.indexOf('=');
    if (at < 0) {
      throw refuse(
        `--node: "${text}" has no address`,
        'bad-node',
        text,
        'ID=ADDRESS such as node1=192.0.2.11',
      );
    }
    const nodeId = checkName('--node', text.slice(0, at));
    const address = parseHostAddress('--node', text.slice(at + 1));
    if (nodes.some((n) => n.nodeId === nodeId)) {
      throw refuse(
        `--node: id "${nodeId}" is given twice`,
        'node-twice',
        text,
        'an id of its own for each node',
      );
    }
    const holder = nodes.find((n) => n.address === address);
    if (holder !== undefined) {
      throw refuse(
        `--node: ${nodeId} and ${holder.nodeId} both have the address ${address}`,
        'address-twice',
        text,
        'an address of its own for each node',
      );
    }
    nodes.push({ nodeId, address });
  }
  return nodes;
}

function parsePortals(texts: readonly string[], defaultPort: number): PlannedPortal[] {
  if (texts.length > MAX_PORTAL_GROUPS) {
    throw refuse(
      '--portal: too many portal groups',
      'too-many-portals',
      texts.length,
      `1 to ${MAX_PORTAL_GROUPS} portal addresses`,
    );
  }
  const portals: PlannedPortal[] = [];
  for (const text of texts) {
    const at = text.indexOf(':');
    const address = parseHostAddress('--portal', at < 0 ? text : text.slice(0, at));
    const port = at < 0 ? defaultPort : parsePort('--portal', text.slice(at + 1), text);
    // An address moves as a whole; only on loopback, where none moves, may two groups share one.
    const twice = portals.some((p) => p.address === address && (p.port === port || !isLoopback(address)));
    if (twice) {
      throw refuse(
        `--portal: ${address} is given twice`,
        'portal-twice',
        text,
        'an address of its own for each portal group',
      );
    }
    portals.push({ address, port });
  }
  return portals;
}

function checkPortalsAgainstNodes(
  portals: readonly PlannedPortal[],
  nodes: readonly PlannedNode[],
  ports: Readonly<Record<PortName, number>>,
): void {
  const nodePorts: readonly number[] = [ports.peer, ports.replication, ports.api, ports.http, ports.iscsi];
  for (const portal of portals) {
    const node = nodes.find((n) => n.address === portal.address);
    if (node !== undefined && (!isLoopback(portal.address) || nodePorts.includes(portal.port))) {
      throw refuse(
        `--portal: ${portal.address}:${portal.port} belongs to node ${node.nodeId} and could not move`,
        'portal-is-node',
        `${portal.address}:${portal.port}`,
        'an address that no node has as its own',
      );
    }
    const foreign = isLoopback(portal.address) ? nodes.find((n) => !isLoopback(n.address)) : undefined;
    if (foreign !== undefined) {
      throw refuse(
        `--portal: clients of node ${foreign.nodeId} (${foreign.address}) could not reach ${portal.address}`,
        'portal-on-loopback',
        portal.address,
        'an address in the network of the clients, or nodes in 127.0.0.0/8 as well',
      );
    }
  }
}

function checkPortalInterface(name: string | undefined, portals: readonly PlannedPortal[]): string | null {
  const moving = portals.find((p) => !isLoopback(p.address));
  if (name !== undefined) return checkInterface('--portal-interface', name);
  if (moving === undefined) return null;
  throw refuse(
    `--portal-interface is missing: ${moving.address} must be put on a network interface`,
    'no-portal-interface',
    moving.address,
    '--portal-interface NAME, or portal addresses in 127.0.0.0/8 only',
  );
}

export function parseInterfaces(names: readonly string[]): string[] {
  return [...new Set(names.map((name) => checkInterface('--dhcp-interface', name)))];
}
