import { type Ipv4, ipv4InSubnet, parseIpv4Subnet } from '../../base/ipv4.ts';
import { withAudit } from './audit.ts';
import type { Command, CommandRefusal } from './commands.ts';
import { candidates, replicasWanted } from './copies.ts';
import { MAX_PORTAL_GROUPS } from './limits.ts';
import type { ClusterState, NodeId, PortalGroupRecord } from './model.ts';
import { checkName, ipv4Number, lookup } from './names.ts';
import { endpointsOfNode, formerNodeAt, hostOf, isLoopback } from './node-addresses.ts';
import { refusalOfNode } from './nodes.ts';
import { accepted, type Outcome, refused, unknownGroup } from './outcome.ts';
import { isLeaving, isUp, memberOf } from './primaries.ts';

/** Portal groups that come and go in a cluster that runs. */

type OfType<T extends Command['type']> = Extract<Command, { type: T }>;

/**
 * Nobody has anything of it yet, so that all its replicas are in sync. It is served once each of them has said which
 * directory its copy is in (`withFounders`): a member in sync over nothing that can be told apart could not be missed.
 */
export function addPortalGroup(state: ClusterState, command: OfType<'addPortalGroup'>): Outcome {
  const { group: id, address, port, atMs, by, ofFormerNode = false } = command;
  const former = ofFormerNode ? undefined : checkAgainstFormerNodes(state, address);
  const refusal = checkId(state, id) ?? checkPortal(state, address, port) ?? former;
  if (refusal !== undefined) return refused(state, refusal);
  const replicas = command.replicas ?? chosenReplicas(state);
  const unfit = checkReplicas(state, replicas);
  if (unfit !== undefined) return refused(state, unfit);
  const bare: PortalGroupRecord = {
    id,
    address,
    port,
    epoch: 1,
    inSync: [],
    replicas,
    founding: true,
    minInSync: 1,
    durability: 'write-back',
  };
  const inSync = replicas.flatMap((nodeId) => {
    const node = lookup(state.nodes, nodeId);
    return node === undefined ? [] : [memberOf(node, bare)];
  });
  const group = { ...bare, inSync };
  const detail = `${id} at ${address}:${port} on ${replicas.join(', ')}, by ${by}`;
  const next = { ...state, portalGroups: { ...state.portalGroups, [id]: group } };
  return accepted(withAudit(next, atMs, 'portal-group-added', detail), { group: id, epoch: group.epoch });
}

/** Its id is never given again: nodes keep their directories. */
export function removePortalGroup(state: ClusterState, command: OfType<'removePortalGroup'>): Outcome {
  const { group: id, atMs, by } = command;
  const group = lookup(state.portalGroups, id);
  if (group === undefined) return unknownGroup(state, id);
  const clients = Object.values(state.clients).filter((client) => client.portalGroup === id);
  if (clients.length > 0) {
    const names = clients.slice(0, 5).map(({ name }) => name);
    const message = `portal group ${id} has the disks of ${clients.length} client${clients.length === 1 ? '' : 's'} (${names.join(', ')})`;
    return refused(state, conflict('not-empty', message, id, 'a portal group without clients'));
  }
  const { [id]: _, ...others } = state.portalGroups;
  if (Object.keys(others).length === 0) {
    const message = `portal group ${id} is the only one`;
    return refused(state, conflict('last-portal-group', message, id, 'one of several'));
  }
  const removedPortalGroups = [...(state.removedPortalGroups ?? []), id];
  const detail = `${id} at ${group.address}:${group.port}, by ${by}`;
  const next = { ...state, portalGroups: others, removedPortalGroups };
  return accepted(withAudit(next, atMs, 'portal-group-removed', detail), { group: id });
}

function checkId(state: ClusterState, id: string): CommandRefusal | undefined {
  const refusal = checkName('a portal group', id);
  if (refusal !== undefined) return refusal;
  if (lookup(state.portalGroups, id) !== undefined || state.removedPortalGroups?.includes(id) === true) {
    const message = `there is or was a portal group "${id}"`;
    return conflict('id-used', message, id, 'an id that was never used');
  }
  const count = Object.keys(state.portalGroups).length;
  if (count < MAX_PORTAL_GROUPS) return undefined;
  return conflict('too-many-portal-groups', `there are ${count} portal groups`, count, 'one removed first');
}

/** The rules by which `init` takes portals, beside what has come since. */
function checkPortal(state: ClusterState, address: string, port: number): CommandRefusal | undefined {
  if (ipv4Number(address) === undefined || address === '0.0.0.0' || address === '255.255.255.255') {
    return invalid('bad-address', `"${address}" cannot be a portal's address`, address, 'such as 192.0.2.10');
  }
  if (port < 1 || port > 65_535) return invalid('bad-port', `${port} is no port`, port, '1 to 65535');
  return (
    checkAgainstGroups(state, address, port) ??
    checkAgainstNodes(state, address, port) ??
    checkAgainstClients(state, address)
  );
}

function checkAgainstGroups(
  { portalGroups }: ClusterState,
  address: string,
  port: number,
): CommandRefusal | undefined {
  const groups = Object.values(portalGroups);
  // An address moves as a whole; only on loopback, where none moves, may two groups share one.
  const other = groups.find((g) => g.address === address && (g.port === port || !isLoopback(address)));
  if (other !== undefined) {
    const message = `${address} is the address of portal group ${other.id}`;
    return conflict('portal-taken', message, `${address}:${port}`, 'an address of its own');
  }
  if (isLoopback(address) || groups.some((g) => !isLoopback(g.address))) return undefined;
  const message = `nodes whose portals are on loopback have no interface for ${address}`;
  return conflict('portal-off-loopback', message, address, 'an address in 127.0.0.0/8');
}

function checkAgainstNodes(
  { nodes }: ClusterState,
  address: string,
  port: number,
): CommandRefusal | undefined {
  for (const node of Object.values(nodes)) {
    const { nodeId } = node;
    const all = endpointsOfNode(node);
    const own = all.filter((endpoint) => hostOf(endpoint) === address);
    if (own.length > 0 && (!isLoopback(address) || own.includes(`${address}:${port}`))) {
      const message = `${address}:${port} belongs to node ${nodeId} and could not move`;
      return conflict('portal-is-node', message, `${address}:${port}`, 'an address that no node has');
    }
    if (isLoopback(address) && all.some((endpoint) => !isLoopback(endpoint))) {
      const message = `clients of node ${nodeId} could not reach ${address}`;
      return conflict('portal-on-loopback', message, address, 'an address in the network of the clients');
    }
  }
  return undefined;
}

/** Its host may be up, without our program, and go on answering for the address that it has. */
function checkAgainstFormerNodes(state: ClusterState, address: string): CommandRefusal | undefined {
  const former = formerNodeAt(state, address);
  if (former === undefined) return undefined;
  const { nodeId, removedAtMs } = former;
  const since = new Date(removedAtMs).toISOString();
  const message = `${address} was the address of node ${nodeId}, which was removed on ${since}: if its host has it still, two would answer for it`;
  const accepted = `an address that no node had; or this one with --of-former-node, once the host of ${nodeId} has it no more`;
  return conflict('portal-was-node', message, address, accepted);
}

function checkAgainstClients(
  { clients, settings: { dhcp } }: ClusterState,
  address: string,
): CommandRefusal | undefined {
  const client = Object.values(clients).find((c) => c.address === address);
  const owner =
    client !== undefined ? `client "${client.name}"` : address === dhcp.router ? 'the router' : '';
  if (owner !== '') {
    return conflict('address-taken', `address ${address} belongs to ${owner}`, address, 'one that is free');
  }
  if (dhcp.mode !== 'full') return undefined;
  const [at, start, end] = [address, dhcp.rangeStart ?? '', dhcp.rangeEnd ?? ''].map(ipv4Number);
  if (at !== undefined && start !== undefined && end !== undefined && start <= at && at <= end) {
    const range = `${dhcp.rangeStart} to ${dhcp.rangeEnd}`;
    const message = `${address} lies in the range that clients are given their addresses from`;
    return conflict('address-in-range', message, address, `an address outside ${range}`);
  }
  const isOutside = dhcp.subnet !== undefined && !ipv4InSubnet(address as Ipv4, parseIpv4Subnet(dhcp.subnet));
  if (!isOutside || dhcp.router !== undefined) return undefined;
  const message = `clients in ${dhcp.subnet} have no router by which they would reach ${address}`;
  return conflict('address-outside-subnet', message, address, `an address in ${dhcp.subnet}`);
}

/** As placement would have them: where there is most room, sharing no rack where that can be. */
function chosenReplicas(state: ClusterState): NodeId[] {
  const group = { replicas: [] as NodeId[], inSync: [] };
  for (let n = replicasWanted(state); n > 0; n--) {
    const [next] = candidates(state, group as unknown as PortalGroupRecord);
    if (next === undefined) break;
    group.replicas.push(next);
  }
  return group.replicas.sort();
}

function checkReplicas(state: ClusterState, replicas: readonly NodeId[]): CommandRefusal | undefined {
  const most = replicasWanted(state);
  if (replicas.length === 0 || replicas.length > most || new Set(replicas).size < replicas.length) {
    const message = `a portal group cannot have its copies on ${replicas.join(', ') || 'no node'}`;
    return conflict('bad-replicas', message, replicas.join(', '), `1 to ${most} nodes, each once`);
  }
  const unknown = replicas.find((id) => lookup(state.nodes, id) === undefined);
  if (unknown !== undefined) return refusalOfNode(state, unknown);
  const absent = replicas.find((id) => !isUp(state.nodes, id) || isLeaving(state.nodes, id));
  if (absent === undefined) return undefined;
  return conflict('not-up', `node ${absent} is not up, or is leaving`, absent, 'nodes that are up and stay');
}

function invalid(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'invalid', code, message, got, accepted };
}

function conflict(code: string, message: string, got: unknown, accepted: string): CommandRefusal {
  return { kind: 'conflict', code, message, got, accepted };
}
