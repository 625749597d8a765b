import { OperationError } from '../../base/errors.ts';
import { type Ipv4, type Ipv4Subnet, ipv4InSubnet, parseIpv4Subnet } from '../../base/ipv4.ts';
import { DEFAULT_REPLICAS_PER_GROUP, MAX_ISCSI_NAME_BYTES, MAX_NODES, MAX_PORTAL_GROUPS } from './limits.ts';
import type {
  ClusterSettings,
  ClusterState,
  DhcpSettings,
  JoinTokenRecord,
  NodeEndpoints,
  NodeId,
  NodeRecord,
  PortalGroupId,
  PortalGroupRecord,
  TokenRecord,
} from './model.ts';
import { checkName, compareText, ipv4Number } from './names.ts';

export interface GenesisInput {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly settings: ClusterSettings;
  readonly nodes: readonly {
    readonly nodeId: NodeId;
    readonly raftId: number;
    readonly endpoints: NodeEndpoints;
  }[];
  readonly portalGroups: readonly {
    readonly id: PortalGroupId;
    readonly address: string;
    readonly port: number;
  }[];
  readonly tokens: readonly TokenRecord[];
  readonly joinTokens?: readonly JoinTokenRecord[];
}

/**
 * The state of a new cluster, before its first command. Every node must be given the same input: it is what
 * all logs begin from. Primaries are dealt out in turn, in the order of the ids, and the replicas of a group are
 * its primary and some nodes after it, all of them in sync and none of them started yet.
 *
 * @throws OperationError kind "invalid" naming what does not fit
 */
export function makeGenesis(input: GenesisInput): ClusterState {
  checkNodes(input);
  checkGroups(input);
  checkSettings(input.settings);
  const nodeIds = input.nodes.map((n) => n.nodeId).sort(compareText);
  const copies = Math.min(input.settings.replicasPerGroup ?? DEFAULT_REPLICAS_PER_GROUP, nodeIds.length);
  /** The first of a group leads it; which nodes come after it turns, so that its groups have various backups. */
  const replicasOf = (n: number): NodeId[] => {
    const first = n % nodeIds.length;
    const others = nodeIds.toSpliced(first, 1);
    const turn = Math.floor(n / nodeIds.length) + first;
    const backups = Array.from(
      { length: copies - 1 },
      (_, i) => others[(turn + i) % others.length] as NodeId,
    );
    return [nodeIds[first] as NodeId, ...backups].sort(compareText);
  };
  const groups = input.portalGroups.toSorted((a, b) => compareText(a.id, b.id));
  return {
    clusterId: input.clusterId,
    clusterName: input.clusterName,
    settings: input.settings,
    nodes: Object.fromEntries(
      input.nodes.map((n): [NodeId, NodeRecord] => [n.nodeId, { ...n, incarnation: '', status: 'new' }]),
    ),
    images: {},
    clients: {},
    portalGroups: Object.fromEntries(
      groups.map((group, i): [PortalGroupId, PortalGroupRecord] => [
        group.id,
        {
          ...group,
          epoch: 1,
          primary: nodeIds[i % nodeIds.length] as NodeId,
          inSync: replicasOf(i).map((nodeId) => ({ nodeId, incarnation: '' })),
          replicas: replicasOf(i),
          minInSync: 1,
          durability: 'write-back',
        },
      ]),
    ),
    bootFiles: {},
    tokens: input.tokens,
    removedNodes: {},
    nextRaftId: Math.max(...input.nodes.map((n) => n.raftId)) + 1,
    joinTokens: Object.fromEntries((input.joinTokens ?? []).map((t) => [t.id, t])),
    audit: [],
    nextLunId: 1,
  };
}

/** A state as an earlier version wrote it, with what has come since. */
export function completeState(state: ClusterState): ClusterState {
  const missing: Partial<ClusterState> = {
    removedNodes: {},
    nextRaftId: Math.max(0, ...Object.values(state.nodes).map((n) => n.raftId)) + 1,
    joinTokens: {},
    audit: [],
  };
  return { ...missing, ...state };
}

function invalid(code: string, message: string, got: unknown, accepted: string): OperationError {
  return new OperationError(message, { kind: 'invalid', code, got, accepted });
}

function checkDistinct(what: string, values: readonly (string | number)[]): void {
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice === undefined) return;
  throw invalid('given-twice', `${what} ${twice} is given twice`, twice, `a ${what} of its own for each`);
}

function checkNamed(what: string, name: string): void {
  const refusal = checkName(what, name);
  if (refusal !== undefined)
    throw invalid(refusal.code, refusal.message, refusal.got, refusal.accepted ?? '');
}

function checkNodes(input: GenesisInput): void {
  const { nodes } = input;
  if (nodes.length === 0 || nodes.length > MAX_NODES) {
    throw invalid(
      'bad-node-count',
      `a cluster of ${nodes.length} nodes`,
      nodes.length,
      `1 to ${MAX_NODES} nodes`,
    );
  }
  for (const { nodeId, raftId } of nodes) {
    checkNamed('a node', nodeId);
    if (!Number.isSafeInteger(raftId) || raftId < 1 || raftId > 0xffff_ffff) {
      throw invalid(
        'bad-raft-id',
        `node ${nodeId} has the Raft id ${raftId}`,
        raftId,
        'a whole number from 1 on',
      );
    }
  }
  checkDistinct(
    'node id',
    nodes.map((n) => n.nodeId),
  );
  checkDistinct(
    'Raft id',
    nodes.map((n) => n.raftId),
  );
}

function checkGroups(input: GenesisInput): void {
  const { portalGroups } = input;
  if (portalGroups.length > MAX_PORTAL_GROUPS) {
    const accepted = `at most ${MAX_PORTAL_GROUPS}`;
    throw invalid('too-many-portal-groups', 'too many portal groups', portalGroups.length, accepted);
  }
  for (const { id, address, port } of portalGroups) {
    checkNamed('a portal group', id);
    if (ipv4Number(address) === undefined) {
      throw invalid('bad-address', `portal group ${id} has no IPv4 address`, address, 'such as 192.0.2.10');
    }
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw invalid('bad-port', `portal group ${id} has the port ${port}`, port, '1 to 65535');
    }
  }
  checkDistinct(
    'portal group id',
    portalGroups.map((g) => g.id),
  );
  checkDistinct(
    'portal',
    portalGroups.map((g) => `${g.address}:${g.port}`),
  );
}

function checkSettings(settings: ClusterSettings): void {
  const { iqnPrefix, fenceAfterMs, leaseMs } = settings;
  // RFC 7143 §4.2.7.4: "iqn.", year-month, the reversed domain, and what its owner likes after a colon.
  const wellFormed = /^iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9][a-z0-9.-]*(:[a-z0-9.:-]+)?$/.test(iqnPrefix);
  if (!wellFormed || iqnPrefix.length > MAX_ISCSI_NAME_BYTES / 2) {
    const accepted = 'such as iqn.2026-11.net.example:lab, in lower case';
    throw invalid('bad-iqn-prefix', `"${iqnPrefix}" cannot begin iSCSI names`, iqnPrefix, accepted);
  }
  const { replicasPerGroup = DEFAULT_REPLICAS_PER_GROUP } = settings;
  if (!Number.isInteger(replicasPerGroup) || replicasPerGroup < 1 || replicasPerGroup > MAX_NODES) {
    const accepted = `1 to ${MAX_NODES}`;
    throw invalid('bad-replica-count', `${replicasPerGroup} copies of a group`, replicasPerGroup, accepted);
  }
  for (const [name, value] of Object.entries({ fenceAfterMs, leaseMs })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw invalid('bad-duration', `${name} is ${value}`, value, 'a whole number of milliseconds, over 0');
  }
  if (settings.dhcp.mode === 'full') checkRange(settings.dhcp);
}

function checkRange(dhcp: DhcpSettings): void {
  const start = ipv4Number(dhcp.rangeStart ?? '');
  const end = ipv4Number(dhcp.rangeEnd ?? '');
  if (start === undefined || end === undefined || start > end) {
    const got = `${dhcp.rangeStart} to ${dhcp.rangeEnd}`;
    throw invalid('bad-range', 'the DHCP range is no range of addresses', got, 'rangeStart <= rangeEnd');
  }
  const subnet = subnetOf(dhcp);
  const outside = [dhcp.rangeStart, dhcp.rangeEnd].find((a) => !ipv4InSubnet(a as Ipv4, subnet));
  if (outside !== undefined) {
    throw invalid(
      'bad-range',
      `${outside} lies outside the subnet ${dhcp.subnet}`,
      outside,
      'addresses inside',
    );
  }
}

function subnetOf(dhcp: DhcpSettings): Ipv4Subnet {
  try {
    return parseIpv4Subnet(dhcp.subnet ?? '');
  } catch {
    throw invalid('bad-subnet', `"${dhcp.subnet}" is not a subnet`, dhcp.subnet, 'such as 192.0.2.0/24');
  }
}
