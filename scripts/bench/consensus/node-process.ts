import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CounterSet } from '../../../base/counters.ts';
import { describeError } from '../../../base/errors.ts';
import { AppliedStore } from '../../../cluster/applied-store.ts';
import { ClusterNode } from '../../../cluster/cluster-node.ts';
import { RaftLog } from '../../../cluster/raft-log.ts';
import type { ClusterState } from '../../../cluster/state/model.ts';
import { PeerMesh } from '../../../node/peer/peer-mesh.ts';
import { systemClock, systemLogger, systemRandom, systemTimers } from '../../../node/system.ts';
import { nodeFileSystem } from '../../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../../storage/log/segmented-log.ts';
import { KeyValueStore } from './key-value-store.ts';
import { decodePut } from './lean-protocol.ts';
import { type LeanService, listenLean } from './lean-server.ts';

/** Everything one process of our side is told; written by our-cluster.ts. */
export interface NodeSettings {
  readonly nodeId: string;
  readonly directory: string;
  /** key-value: RaftLog with the bench's own store. product: ClusterNode with real commands. */
  readonly engine: 'key-value' | 'product';
  readonly genesis: ClusterState;
  readonly peerPorts: Readonly<Record<string, number>>;
  readonly clientPort: number;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
}

/** As the product's own, see node/start-node.ts. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
const HOST = '127.0.0.1';

/**
 * One node of our side: the product's own log, store, segmented files, mutual-TLS links and applied state in
 * `level`, with the bench's client port in front.
 */
async function main(settingsFile: string): Promise<void> {
  const settings = JSON.parse(readFileSync(settingsFile, 'utf8')) as NodeSettings;
  const { nodeId, genesis, peerPorts, tls } = settings;
  const incarnation = Buffer.from(systemRandom.bytes(8)).toString('hex');
  const logger = systemLogger(nodeId, process.env['BOOTFABRIC_LOG_LEVEL'] ?? 'warn');
  const counters = new CounterSet();
  mkdirSync(settings.directory, { recursive: true });
  const { log: records } = await openSegmentedLog({
    directory: join(settings.directory, 'raft'),
    fileSystem: nodeFileSystem,
    segmentSizeBytes: SEGMENT_BYTES,
    logger: logger('cluster-records'),
    counters,
  });
  const transport = new PeerMesh({
    self: { clusterId: genesis.clusterId, nodeId, incarnation },
    listen: { host: HOST, port: peerPorts[nodeId] ?? 0 },
    peers: Object.entries(peerPorts)
      .filter(([id]) => id !== nodeId)
      .map(([id, port]) => ({ nodeId: id, host: HOST, port })),
    credentials: tls,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: logger('cluster-link'),
    counters,
  });
  const onFatal = (error: unknown): never => {
    process.stderr.write(`${nodeId}: ${describeError(error)}\n`);
    process.exit(1);
  };
  const parts = {
    nodeId,
    incarnation,
    records,
    transport,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: logger('cluster'),
    counters,
    onFatal,
  };
  const service =
    settings.engine === 'key-value'
      ? await startKeyValue(settings, parts)
      : await startProduct(settings, parts);
  // Profiles are written at the end of a process that ends by itself.
  process.once('SIGTERM', () => process.exit(0));
  await transport.start();
  await listenLean(HOST, settings.clientPort, service);
}

type Parts = Omit<
  ConstructorParameters<typeof ClusterNode>[0],
  'endpoints' | 'genesis' | 'appliedStore' | 'onFenced'
> & { readonly counters: CounterSet };

async function startKeyValue({ genesis, directory }: NodeSettings, parts: Parts): Promise<LeanService> {
  const members = Object.values(genesis.nodes);
  const log: RaftLog = new RaftLog({
    ...parts,
    raftId: members.find((m) => m.nodeId === parts.nodeId)?.raftId ?? 0,
    firstVoters: members.map((m) => m.raftId),
    members: { wanted: members.map((m) => ({ ...m, leaving: false })), others: [], left: [] },
    onTick: () => {},
  });
  const store = await KeyValueStore.open(join(directory, 'state'), {
    persisted: (position) => log.trim(position),
    failed: parts.onFatal,
  });
  await log.start(store);
  return {
    put: async (command) => {
      await log.append(command);
    },
    get: async (key) => {
      const position = await log.tail();
      return await new Promise((resolve) => store.whenApplied(position, () => resolve(store.get(key))));
    },
    status: () => {
      const status = log.status();
      return {
        role: status?.role,
        leader: log.nodeIdOf(status?.leader ?? 0),
        applied: store.appliedPosition,
        syncs: parts.counters.get('log.syncs'),
      };
    },
  };
}

/** The product's path from end to end: a put becomes the command that replaces a boot file's record. */
async function startProduct(
  { genesis, directory, nodeId }: NodeSettings,
  parts: Parts,
): Promise<LeanService> {
  const appliedStore = await AppliedStore.open(join(directory, 'state'), {
    clusterId: genesis.clusterId,
    nodeId,
  });
  const endpoints = genesis.nodes[nodeId]?.endpoints;
  if (endpoints === undefined) throw new Error(`${nodeId} is no member`);
  const node = new ClusterNode({
    ...parts,
    genesis,
    appliedStore,
    endpoints,
    onFenced: () => parts.onFatal('this node was fenced'),
  });
  await node.start();
  return {
    put: async (body) => {
      const { key, value } = decodePut(body);
      const sha256 = Buffer.from(value.subarray(0, 32)).toString('hex').padStart(64, '0');
      const result = await node.propose({
        type: 'addBootFile',
        name: fileName(key),
        sizeBytes: value.length,
        sha256,
        holder: nodeId,
      });
      if (!result.ok) throw new Error(result.error.message);
    },
    get: async (key) => {
      const { bootFiles } = await node.linearizableState();
      return Buffer.from(bootFiles[fileName(key)]?.sha256 ?? '', 'hex');
    },
    status: () => {
      const { role, leader, appliedIndex } = node.status();
      return { role, leader, applied: appliedIndex, syncs: parts.counters.get('log.syncs') };
    },
  };
}

/** Boot files are few: keys share their names. */
const BOOT_FILES = 32;

function fileName(key: string): string {
  return `bench-${Number(key.slice(1)) % BOOT_FILES}.efi`;
}

const [, , settingsFile] = process.argv;
if (settingsFile === undefined) throw new Error('usage: node-process SETTINGS-FILE');
await main(settingsFile);
