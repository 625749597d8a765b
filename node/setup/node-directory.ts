import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, OperationError } from '../../base/errors.ts';
import type { JoinedMembers } from '../../cluster/cluster-node-options.ts';
import type { MemberAddress } from '../../cluster/membership.ts';
import { completeState } from '../../cluster/state/genesis.ts';
import type { ClusterState, NodeEndpoints } from '../../cluster/state/model.ts';
import { CONFIG_FILE, loadConfig, type NodeConfig } from '../config.ts';

/** What init writes for one node and start reads: DIR/bootfabric.yaml and the files beside it. */
export const NODE_FILES = {
  config: CONFIG_FILE,
  genesis: 'genesis.json',
  clusterSecret: 'cluster.secret',
  authority: 'tls/ca.crt',
  certificate: 'tls/node.crt',
  privateKey: 'tls/node.key',
  authorityKey: 'tls/ca.key',
  /** Only on a node that joined: itself and the members it found. */
  joined: 'joined.json',
} as const;

export interface NodeDirectory {
  /** Where it is. */
  readonly path: string;
  readonly config: NodeConfig;
  /** From which every node's cluster log begins; the same bytes on all. */
  readonly genesis: ClusterState;
  /** The node itself, as the cluster knows it. */
  readonly self: MemberAddress;
  /** Those it found as it joined; a node that was there from the beginning finds them in genesis. */
  readonly joined: JoinedMembers | undefined;
  readonly tls: NodeTls;
  /** PEM; signs the certificates of nodes that join. Undefined where an earlier version made the directory. */
  readonly authorityKey: string | undefined;
  /** Hexadecimal; shared by the nodes of the cluster and known to nobody else. */
  readonly clusterSecret: string;
}

/** PEM texts. */
export interface NodeTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** @throws OperationError kind "not-found" or "invalid": names the file and what is wrong with it */
export async function loadNodeDirectory(directory: string): Promise<NodeDirectory> {
  const config = await loadConfig(directory);
  const text = (name: string): Promise<string> => readNodeFile(join(directory, name));
  const genesis = parseGenesis(await text(NODE_FILES.genesis), join(directory, NODE_FILES.genesis));
  const joinedText = await readIfThere(join(directory, NODE_FILES.joined));
  const joined =
    joinedText === undefined ? undefined : parseJoined(joinedText, join(directory, NODE_FILES.joined));
  const self = genesis.nodes[config.nodeId] ?? joined?.members.find((m) => m.nodeId === config.nodeId);
  if (self === undefined) {
    throw new OperationError(`${join(directory, CONFIG_FILE)}: nodeId is "${config.nodeId}"`, {
      kind: 'invalid',
      code: 'bad-value',
      got: config.nodeId,
      accepted: `a node of this cluster: ${Object.keys(genesis.nodes).join(', ')}`,
    });
  }
  checkEndpoints(config, self, directory);
  return {
    path: directory,
    config,
    genesis,
    self,
    joined,
    authorityKey: await readIfThere(join(directory, NODE_FILES.authorityKey)),
    tls: {
      ca: await text(NODE_FILES.authority),
      cert: await text(NODE_FILES.certificate),
      key: await text(NODE_FILES.privateKey),
    },
    clusterSecret: (await text(NODE_FILES.clusterSecret)).trim(),
  };
}

/** The others reach this node where the cluster says it is; a copy moved elsewhere must not run beside it. */
function checkEndpoints(config: NodeConfig, { endpoints }: MemberAddress, directory: string): void {
  for (const [name, known] of Object.entries(endpoints) as [keyof NodeEndpoints, string][]) {
    const own = `${config.address}:${config.ports[name]}`;
    if (own === known) continue;
    throw new OperationError(
      `${join(directory, CONFIG_FILE)}: ${name} of node ${config.nodeId} would be at ${own}; the cluster has it at ${known}`,
      { kind: 'conflict', code: 'other-endpoint', got: own, accepted: known },
    );
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseJoined(text: string, file: string): JoinedMembers {
  try {
    const joined = JSON.parse(text) as Partial<JoinedMembers> | null;
    if (Number.isSafeInteger(joined?.raftId) && Array.isArray(joined?.members))
      return joined as JoinedMembers;
  } catch {
    // Told below, like a document that lacks parts.
  }
  throw new OperationError(`${file} does not say whom this node has joined`, {
    kind: 'invalid',
    code: 'bad-joined',
    got: file,
    accepted: 'the file that "bootfabric join" wrote, unchanged',
  });
}

async function readNodeFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new OperationError(`${file} cannot be read: ${describeError(error)}`, {
      kind: 'not-found',
      code: 'no-node-file',
      got: file,
      accepted: 'a node directory as "bootfabric init" writes it',
    });
  }
}

function parseGenesis(text: string, file: string): ClusterState {
  try {
    const genesis = JSON.parse(text) as Partial<ClusterState> | null;
    const whole = [genesis?.clusterId, genesis?.settings, genesis?.nodes, genesis?.portalGroups];
    if (!whole.includes(undefined)) return completeState(genesis as ClusterState);
  } catch {
    // Told below, like a document that lacks parts.
  }
  throw new OperationError(`${file} is not the beginning of a cluster`, {
    kind: 'invalid',
    code: 'bad-genesis',
    got: file,
    accepted: 'the file that "bootfabric init" wrote, unchanged',
  });
}

/** Writes one file durably; directories above it are made. A file that exists is an error. */
export async function writeNewFile(file: string, text: string, mode: number): Promise<void> {
  await mkdir(join(file, '..'), { recursive: true, mode: 0o700 });
  const handle = await open(file, 'wx', mode);
  try {
    await handle.writeFile(text);
    // The umask may have taken bits away from open, never added any.
    await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
