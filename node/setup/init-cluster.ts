import { createHash } from 'node:crypto';
import type { RandomSource } from '../../base/random.ts';
import { makeGenesis } from '../../cluster/state/genesis.ts';
import type { ClusterState, JoinTokenRecord, NodeEndpoints } from '../../cluster/state/model.ts';
import { restoredGenesis } from '../../cluster/state/restored.ts';
import { STATE_VERSIONS } from '../../cluster/state/versions.ts';
import { formatConfig } from '../config.ts';
import {
  type Credentials,
  certificateSha256,
  createAuthority,
  createNodeCertificate,
} from './certificates.ts';
import type { InitPlan, PlannedNode } from './init-plan.ts';
import { encodeJoinToken, JOIN_TOKEN_LIFETIME_MS, newJoinSecret } from './join-token.ts';
import { NODE_FILES } from './node-directory.ts';

/** What is wanted of the world to make a cluster. */
export interface InitInputs {
  readonly nowMs: number;
  /** Cryptographically strong: secrets and the cluster id come from it. */
  readonly random: RandomSource;
}

/** A new cluster as files, each with its path below the output directory; nothing is written yet. */
export interface NewCluster {
  readonly clusterId: string;
  readonly files: readonly NewFile[];
  readonly profile: AdminProfile;
  /** Lets in the next node; see join-token.ts. */
  readonly joinToken: string;
}

export interface NewFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/** admin.json: all that the command line needs to reach the cluster and be let in. */
export interface AdminProfile {
  readonly clusterName: string;
  readonly clusterId: string;
  readonly apiUrls: readonly string[];
  readonly caCertificate: string;
  readonly token: string;
}

const CLUSTER_ID_BYTES = 16;
const SECRET_BYTES = 32;
const PUBLIC_MODE = 0o644;
const SECRET_MODE = 0o600;

export const PROFILE_FILE = 'admin.json';
/** The authority's key signs certificates of later nodes; each node has a copy for that (docs/adr/0007). */
export const AUTHORITY_KEY_FILE = 'ca.key';

/** A node that the leader has not heard for this long is fenced; a backup's grant ends well before. */
const FENCE_AFTER_MS = 900;
const LEASE_MS = 600;

/**
 * @param restored the configuration of another cluster, which the new one is to have
 * @throws OperationError kind "invalid"
 */
export function makeCluster(plan: InitPlan, inputs: InitInputs, restored?: ClusterState): NewCluster {
  const clusterId = hex(inputs.random.bytes(CLUSTER_ID_BYTES));
  const token = `bf_${Buffer.from(inputs.random.bytes(SECRET_BYTES)).toString('base64url')}`;
  const clusterSecret = hex(inputs.random.bytes(SECRET_BYTES));
  const join = newJoinSecret(inputs.random);
  const beginning = planGenesis(plan, clusterId, {
    portalGroupIds: restored === undefined ? undefined : Object.keys(restored.portalGroups),
    token,
    join: {
      id: join.id,
      secretSha256: join.secretSha256,
      expiresAtMs: inputs.nowMs + JOIN_TOKEN_LIFETIME_MS,
    },
  });
  const genesis = restored === undefined ? beginning : restoredGenesis(beginning, restored, inputs.nowMs);
  const authority = createAuthority(clusterId, inputs, inputs.random);
  const profile: AdminProfile = {
    clusterName: plan.clusterName,
    clusterId,
    apiUrls: plan.nodes.map((node) => `https://${node.address}:${plan.ports.api}`),
    caCertificate: authority.certificatePem,
    token,
  };
  const files = [
    ...plan.nodes.flatMap((node) =>
      nodeFiles(plan, node, { clusterId, clusterSecret, genesis, authority }, inputs),
    ),
    { path: PROFILE_FILE, text: json(profile), mode: SECRET_MODE },
    { path: AUTHORITY_KEY_FILE, text: authority.privateKeyPem, mode: SECRET_MODE },
  ];
  const joinToken = encodeJoinToken({
    clusterName: plan.clusterName,
    clusterId,
    apiEndpoints: plan.nodes.map((node) => `${node.address}:${plan.ports.api}`),
    authoritySha256: certificateSha256(authority.certificatePem),
    id: join.id,
    secret: join.secret,
  });
  return { clusterId, files, profile, joinToken };
}

function planGenesis(
  plan: InitPlan,
  clusterId: string,
  {
    token,
    join,
    portalGroupIds,
  }: {
    readonly token: string;
    readonly join: JoinTokenRecord;
    /** In the order of the plan's portals; undefined: they are numbered. */
    readonly portalGroupIds: readonly string[] | undefined;
  },
): ClusterState {
  const genesis = makeGenesis({
    clusterId,
    clusterName: plan.clusterName,
    settings: {
      dhcp: plan.dhcp,
      iqnPrefix: `iqn.2026-11.net.bootfabric:${plan.clusterName}`,
      fenceAfterMs: FENCE_AFTER_MS,
      leaseMs: LEASE_MS,
    },
    nodes: plan.nodes.map((node, i) => ({
      nodeId: node.nodeId,
      raftId: i + 1,
      endpoints: endpointsOf(plan, node),
    })),
    portalGroups: plan.portals.map((portal, i) => ({ id: portalGroupIds?.[i] ?? `pg${i + 1}`, ...portal })),
    joinTokens: [join],
    tokens: [
      { id: 'admin', role: 'administrator', sha256: createHash('sha256').update(token).digest('hex') },
    ],
  });
  // All its nodes start with this program, or a later one.
  return { ...genesis, stateVersion: STATE_VERSIONS.newest };
}

export function endpointsOf(
  { ports }: { readonly ports: InitPlan['ports'] },
  node: Pick<PlannedNode, 'address'>,
): NodeEndpoints {
  const at = (port: number): string => `${node.address}:${port}`;
  return {
    peer: at(ports.peer),
    replication: at(ports.replication),
    api: at(ports.api),
    http: at(ports.http),
    tftp: at(ports.tftp),
    iscsi: at(ports.iscsi),
  };
}

interface Shared {
  readonly clusterId: string;
  readonly clusterSecret: string;
  readonly genesis: ClusterState;
  readonly authority: Credentials;
}

function nodeFiles(plan: InitPlan, node: PlannedNode, shared: Shared, inputs: InitInputs): NewFile[] {
  const credentials = createNodeCertificate(
    shared.authority,
    { nodeId: node.nodeId, clusterId: shared.clusterId, addresses: [node.address] },
    inputs,
    inputs.random,
  );
  const config = formatConfig({
    nodeId: node.nodeId,
    address: node.address,
    ports: plan.ports,
    portal: { interface: plan.portalInterface },
    ...(plan.dataPlane === undefined ? {} : { dataPlane: plan.dataPlane }),
    dhcp: { interfaces: plan.dhcpInterfaces },
    ipxeDir: plan.ipxeDir,
    dataDir: './data',
  });
  const file = (name: string, text: string, mode: number): NewFile => ({
    path: `${node.nodeId}/${name}`,
    text,
    mode,
  });
  return [
    file(NODE_FILES.config, config, PUBLIC_MODE),
    file(NODE_FILES.genesis, json(shared.genesis), PUBLIC_MODE),
    file(NODE_FILES.authority, shared.authority.certificatePem, PUBLIC_MODE),
    file(NODE_FILES.certificate, credentials.certificatePem, PUBLIC_MODE),
    file(NODE_FILES.privateKey, credentials.privateKeyPem, SECRET_MODE),
    file(NODE_FILES.authorityKey, shared.authority.privateKeyPem, SECRET_MODE),
    file(NODE_FILES.clusterSecret, `${shared.clusterSecret}\n`, SECRET_MODE),
  ];
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
