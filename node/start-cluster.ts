import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describeError } from '../base/errors.ts';
import { EXIT_CODE } from '../base/exit-code.ts';
import type { Logger } from '../base/logger.ts';
import { ClusterNode } from '../cluster/cluster-node.ts';
import type { GroupDisks } from '../cluster/disk-registration.ts';
import type { MemberAddress } from '../cluster/membership.ts';
import type { Ballast } from '../storage/log/ballast.ts';
import { nodeFileSystem } from '../storage/log/file-system.ts';
import { BALLAST_CHECK_MS } from '../storage/log/limits.ts';
import { DirectoryLives } from '../storage/replication/directory-lives.ts';
import { DiskIdentities } from '../storage/replication/disk-identity.ts';
import { copiesSetAside } from '../storage/replication/set-aside.ts';
import { endAfter } from './cluster-failure.ts';
import { type ClusterStores, openClusterStores } from './cluster-stores.ts';
import { furtherWorkers } from './data-plane-size.ts';
import { LogLife } from './log-life.ts';
import { MemberWatch } from './member-watch.ts';
import type { NodeContext } from './node-context.ts';
import { digestOfLastWord } from './peer/last-word.ts';
import { LastWords } from './peer/last-words.ts';
import type { PeerAddress } from './peer/outbound-link.ts';
import { PeerMesh, type PeerMeshOptions } from './peer/peer-mesh.ts';
import { systemClock, systemRandom, systemTimers } from './system.ts';

/** Names the present run of the kernel (random(4)). */
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

/** Ends the process, saying why. */
export type EndProcess = (code: number, event: string, fields: Record<string, unknown>) => never;

export interface ClusterParts {
  readonly cluster: ClusterNode;
  readonly closeStores: () => Promise<void>;
  readonly mesh: PeerMesh;
  readonly members: MemberWatch;
  /** Of other nodes' processes, as their guardians see them end. */
  readonly lastWords: LastWords;
}

/** The cluster log of one node, its links, and their following the members as these come and go. */
export async function startCluster(context: NodeContext, end: EndProcess): Promise<ClusterParts> {
  const { directory, incarnation, logger, counters } = context;
  const { config, genesis, tls, self, joined } = directory;
  const { nodeId } = config;
  const { clusterId } = genesis;
  const removed = (): never => {
    const reason = `this node was removed from the cluster; to come back, this host joins under another id`;
    return end(EXIT_CODE.removed, 'node.removed', { nodeId, reason });
  };
  const { clusterRecords, appliedStore, ballast, close } = await openStores(context);
  const { records, lost } = clusterRecords;
  const { mesh, lastWords } = makeLinks(context, {
    metStranger: () => members.ask(),
    toldRemoved: removed,
  });
  const cluster = new ClusterNode({
    nodeId,
    incarnation,
    endpoints: self.endpoints,
    workers: furtherWorkers(config, availableParallelism()),
    ...(config.placement === undefined ? {} : { placement: config.placement }),
    genesis,
    ...(joined === undefined ? {} : { joined }),
    records,
    ...(lost === undefined ? {} : { lost }),
    setAside: () => clusterRecords.setAside(),
    appliedStore,
    transport: mesh,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: logger('cluster'),
    counters,
    groupDisks: groupDisksOf(context),
    ...(await bootName()),
    onFenced: () => end(EXIT_CODE.fenced, 'node.fenced', { incarnation }),
    onRemoved: removed,
    onPeersChange: (peers, removedIds) => mesh.setPeers(peersFor('peer', peers), removedIds),
    onFatal: (error) => {
      const { code, event, fields } = endAfter(error);
      return end(code, event, fields);
    },
  });
  const members = new MemberWatch({
    nodeId,
    clusterId,
    tls,
    peers: () => cluster.peers(),
    learn: (found) => cluster.learnMembers(found),
    onRemoved: removed,
    clock: systemClock,
    logger: logger('members'),
  });
  await cluster.start();
  await clusterRecords.noted();
  lastWords.onEnded((peer) => cluster.peerEnded(peer));
  await lastWords.start();
  await mesh.start();
  members.ask();
  keepBallast(ballast, logger('node'));
  return { cluster, mesh, members, lastWords, closeStores: close };
}

function openStores({ directory, logger, counters }: NodeContext): Promise<ClusterStores> {
  const log = logger('cluster-records');
  const place = { settingsDirectory: directory.path, fileSystem: nodeFileSystem };
  const life = new LogLife({ ...place, random: systemRandom, logger: log });
  return openClusterStores(directory, { logger: log, counters, life });
}

/** The links to other nodes, and what is heard beside them; neither is started. */
function makeLinks(
  { directory, incarnation, lastWord, logger, counters }: NodeContext,
  handlers: Pick<PeerMeshOptions, 'metStranger' | 'toldRemoved'>,
): Pick<ClusterParts, 'mesh' | 'lastWords'> {
  const { config, genesis, tls } = directory;
  const { clusterId } = genesis;
  const listen = { host: config.address, port: config.ports.peer };
  const lastWords = new LastWords({
    listen,
    whose: (digest) => mesh.whoseLastWord(digest),
    logger: logger('last-words'),
    counters,
  });
  const mesh = new PeerMesh({
    self: { clusterId, nodeId: config.nodeId, incarnation, lastWordDigest: digestOfLastWord(lastWord) },
    listen,
    peers: [],
    credentials: tls,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: logger('cluster-link'),
    counters,
    ...handlers,
    greeted: (hello) => lastWords.greeted(hello),
  });
  return { mesh, lastWords };
}

/** For as long as the process lives. */
function keepBallast(ballast: Ballast, logger: Logger): void {
  const again = (): void => {
    systemTimers.setTimer(BALLAST_CHECK_MS, () => keepBallast(ballast, logger));
  };
  ballast.makeIfRoom().then(again, (error: unknown) => {
    logger.warn('disk.no-ballast', { reason: describeError(error) });
    again();
  });
}

function groupDisksOf({ directory, logger }: NodeContext): GroupDisks {
  const groupsDirectory = join(directory.config.dataDir, 'groups');
  const identities = new DiskIdentities({
    fileSystem: nodeFileSystem,
    groupsDirectory,
    random: systemRandom,
    logger: logger('cluster'),
  });
  const lives = new DirectoryLives({ fileSystem: nodeFileSystem, groupsDirectory, random: systemRandom });
  return {
    present: () => identities.present(),
    identify: (group) => identities.identify(group),
    begin: (group) => lives.begin(group),
    settle: (group, life) => lives.settle(group, life),
    retired: () => copiesSetAside(nodeFileSystem, groupsDirectory),
  };
}

/** Linux makes a new one with each start of its kernel. Where there is none, nothing is said of it. */
async function bootName(): Promise<{ boot?: string }> {
  try {
    return { boot: (await readFile(BOOT_ID_FILE, 'latin1')).trim() };
  } catch {
    return {};
  }
}

/** Where the members' service of that name is. */
export function peersFor(endpoint: 'peer' | 'replication', members: readonly MemberAddress[]): PeerAddress[] {
  return members.map(({ nodeId, endpoints }) => {
    const [host = '', port = ''] = endpoints[endpoint].split(':');
    return { nodeId, host, port: Number(port) };
  });
}
