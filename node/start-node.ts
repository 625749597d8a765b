import { join } from 'node:path';
import { type ApiServer, startApiServer } from '../api/server.ts';
import { CounterSet } from '../base/counters.ts';
import { OperationError } from '../base/errors.ts';
import { EXIT_CODE } from '../base/exit-code.ts';
import type { Logger } from '../base/logger.ts';
import { ClusterNode } from '../cluster/cluster-node.ts';
import { isRemoved } from '../cluster/state/image-removal.ts';
import type { ClusterState } from '../cluster/state/model.ts';
import { BootFileStore } from '../storage/image/boot-file-store.ts';
import { ContentReplicator } from '../storage/image/content-replicator.ts';
import { ImageMender } from '../storage/image/image-mender.ts';
import { ImageStore } from '../storage/image/image-store.ts';
import { BootPrograms } from './boot-programs.ts';
import { type BootServers, DEFAULT_PROGRAMS, startBootServers } from './boot-servers.ts';
import { ClusterBootService } from './boot-service.ts';
import { DEFAULT_QUEUE_DEPTH } from './iscsi/limits.ts';
import { JoinDesk } from './join-desk.ts';
import { LifeRenewal } from './life-renewal.ts';
import { HAND_OVER_TIMEOUT_MS, STOP_WITHIN_MS } from './limits.ts';
import type { NodeContext } from './node-context.ts';
import { LocalServices } from './node-services.ts';
import { ContentClient } from './peer/content-client.ts';
import { LAST_WORD_BYTES } from './peer/last-word.ts';
import { DataPlaneWorkers, startWorkers } from './portal/data-plane-workers.ts';
import { IMAGE_CACHE_MIB } from './portal/limits.ts';
import { loadNodeDirectory } from './setup/node-directory.ts';
import { type ClusterParts, type EndProcess, peersFor, startCluster } from './start-cluster.ts';
import { systemClock, systemLogger, systemRandom, systemTimers } from './system.ts';

const EXIT_OF_CAUSE = {
  start: EXIT_CODE.again,
  storage: EXIT_CODE.storage,
  bug: EXIT_CODE.again,
} as const;
const INCARNATION_BYTES = 8;
const BYTES_PER_MIB = 1024 * 1024;

export interface StartOptions {
  /** A node's directory as init wrote it. */
  readonly directory: string;
  readonly logLevel: string;
  readonly exit: (code: number) => never;
}

export interface RunningNode {
  /**
   * Hands everything back in order; after it the process may end.
   * @throws Error when that is not done within STOP_WITHIN_MS, as with a disk that takes nothing
   */
  stop(): Promise<void>;
}

/**
 * Starts every part of a node, each with what it needs of the others, in an order in which nothing is offered
 * before it can be kept: log, data plane, then the protocols.
 * @throws OperationError for what an administrator can mend; nothing is left running then but this process
 */
export async function startNode(options: StartOptions): Promise<RunningNode> {
  const directory = await loadNodeDirectory(options.directory);
  const { config } = directory;
  const context: NodeContext = {
    directory,
    incarnation: Buffer.from(systemRandom.bytes(INCARNATION_BYTES)).toString('hex'),
    lastWord: systemRandom.bytes(LAST_WORD_BYTES),
    logger: systemLogger(config.nodeId, options.logLevel),
    counters: new CounterSet(),
  };
  const log = context.logger('node');
  const end = (code: number, event: string, fields: Record<string, unknown>): never => {
    log.error(event, fields);
    return options.exit(code);
  };
  log.info('node.starting', { incarnation: context.incarnation, cluster: directory.genesis.clusterName });
  const clusterParts = await startCluster(context, end);
  const { cluster } = clusterParts;
  const { images, bootFiles } = makeStores(context);
  await images.start();
  await bootFiles.start();
  const client = new ContentClient({
    tls: directory.tls,
    clusterId: directory.genesis.clusterId,
    apiEndpoint: (nodeId) => cluster.state().nodes[nodeId]?.endpoints.api,
  });
  const mender = makeMender(context, cluster, images, client);
  const dataPlane = startDataPlane(context, cluster, { logLevel: options.logLevel, mender, end });
  clusterParts.lastWords.onEnded((peer) => dataPlane.peerEnded(peer));
  await dataPlane.ready;
  const content = startContent(context, cluster, { images, bootFiles, client });
  const programs = makePrograms(context, cluster, bootFiles);
  const services = new LocalServices({
    incarnation: context.incarnation,
    startedAtMs: systemClock.wallMs(),
    cluster,
    images,
    bootFiles,
    bootPrograms: programs,
    neededPrograms: DEFAULT_PROGRAMS,
    dataPlane,
    readCopyOf: (nodeId, group) => client.readCopy(nodeId, group),
    imageUseOf: async (nodeId, image) => (await client.imageUse(nodeId, image)).groups,
    membership: new JoinDesk({
      cluster,
      directory,
      clock: systemClock,
      random: systemRandom,
      logger: context.logger('join'),
    }),
    clock: systemClock,
    counters: context.counters,
  });
  const boot = new ClusterBootService({
    nodeId: config.nodeId,
    state: () => cluster.state(),
    beginBootHere: (client) => dataPlane.beginBoot(client),
    beginBootElsewhere: (nodeId, client) => content.client.beginBoot(nodeId, client),
    propose: (command) => cluster.propose(command),
    logger: context.logger('boot'),
  });
  const api = await startApi(context, cluster, services, end);
  const servers = await startBootServers(context, cluster, boot, programs);
  const renewal = startRenewal(context, cluster, dataPlane);
  log.info('node.started', { address: config.address, ports: config.ports, workers: dataPlane.count });
  return { stop: () => stopAll({ ...clusterParts, dataPlane, renewal, content, api, servers, log }) };
}

function makePrograms(
  { directory: { config } }: NodeContext,
  cluster: ClusterNode,
  bootFiles: BootFileStore,
): BootPrograms {
  return new BootPrograms({
    folder: config.ipxeDir,
    uploaded: async (name) => {
      const record = cluster.state().bootFiles[name];
      return record === undefined ? undefined : bootFiles.get(record.sha256);
    },
  });
}

function makeStores({ directory: { config }, logger, counters }: NodeContext): {
  images: ImageStore;
  bootFiles: BootFileStore;
} {
  const images = new ImageStore({
    directory: join(config.dataDir, 'images'),
    logger: logger('images'),
    counters,
  });
  return {
    images,
    bootFiles: new BootFileStore({ directory: join(config.dataDir, 'boot-files'), counters }),
  };
}

/** Puts damaged chunks of images right with what other nodes hold. */
function makeMender(
  { directory, logger, counters }: NodeContext,
  cluster: ClusterNode,
  store: ImageStore,
  fetcher: ContentClient,
): ImageMender {
  return new ImageMender({
    store,
    fetcher,
    wanted: ({ name, version }) => {
      const found = cluster.state().images[name]?.versions.find((v) => v.version === version);
      if (found === undefined) return undefined;
      const holders = found.holders.filter((holder) => holder !== directory.config.nodeId);
      return { name, version, manifestSha256: found.manifestSha256, holders };
    },
    logger: logger('images'),
    counters,
  });
}

function startDataPlane(
  context: NodeContext,
  cluster: ClusterNode,
  { logLevel, mender, end }: { logLevel: string; mender: ImageMender; end: EndProcess },
): DataPlaneWorkers {
  const { directory, incarnation, lastWord } = context;
  const { config, genesis, tls } = directory;
  const workers = startWorkers(
    {
      nodeId: config.nodeId,
      clusterId: genesis.clusterId,
      incarnation,
      lastWord,
      logLevel,
      groupsDirectory: join(config.dataDir, 'groups'),
      imagesDirectory: join(config.dataDir, 'images'),
      scrubFile: join(config.dataDir, 'scrub.json'),
      workers: [
        {
          replication: `${config.address}:${config.ports.replication}`,
          iscsi: `${config.address}:${config.ports.iscsi}`,
        },
        ...cluster.workers,
      ],
      portalInterface: config.portal.interface,
      queueDepth: config.portal.queueDepth ?? DEFAULT_QUEUE_DEPTH,
      imageCacheBytes: (config.portal.imageCacheMib ?? IMAGE_CACHE_MIB) * BYTES_PER_MIB,
      portalAddresses: portalAddresses(genesis, cluster.state()),
      tls,
      peers: peersFor('replication', cluster.peers()),
    },
    {
      cluster,
      timers: systemTimers,
      mendImage: (image, part) => mender.mend(image, part),
      onFatal: (cause, reason) => end(EXIT_OF_CAUSE[cause], 'node.failed', { cause, reason }),
    },
  );
  return new DataPlaneWorkers(workers, cluster);
}

/** Of the groups that there were at first, and are now. */
function portalAddresses(genesis: ClusterState, state: ClusterState): string[] {
  const groups = [genesis, state].flatMap(({ portalGroups }) => Object.values(portalGroups));
  return [...new Set(groups.map((group) => group.address))];
}

function startRenewal(
  { directory, logger }: NodeContext,
  cluster: ClusterNode,
  dataPlane: DataPlaneWorkers,
): LifeRenewal {
  const renewal = new LifeRenewal({
    nodeId: directory.config.nodeId,
    state: () => cluster.state(),
    groups: async () => (await dataPlane.status()).groups,
    renewLives: (groups) => cluster.renewLives(groups),
    timers: systemTimers,
    logger: logger('cluster'),
  });
  renewal.start();
  return renewal;
}

interface ContentParts {
  readonly client: ContentClient;
  readonly replicator: ContentReplicator;
}

/** Brings this node to hold every image and boot file of the cluster. */
function startContent(
  context: NodeContext,
  cluster: ClusterNode,
  { images, bootFiles, client }: { images: ImageStore; bootFiles: BootFileStore; client: ContentClient },
): ContentParts {
  const { directory, logger, counters } = context;
  const replicator = new ContentReplicator({
    nodeId: directory.config.nodeId,
    images,
    bootFiles,
    fetcher: client,
    held: async (item) => {
      const holder = cluster.nodeId;
      const result = await cluster.propose(
        item.kind === 'image'
          ? { type: 'imageHeld', image: item.name, version: item.version, holder }
          : { type: 'bootFileHeld', name: item.name, sha256: item.sha256, holder },
      );
      if (!result.ok) throw new OperationError(result.error.message, result.error);
    },
    clock: systemClock,
    timers: systemTimers,
    logger: logger('content'),
    counters,
  });
  const update = (state: ReturnType<ClusterNode['state']>): void => {
    // One that was removed, and votes still, is to hold nothing any more.
    if (Object.hasOwn(state.removedNodes, directory.config.nodeId)) return;
    replicator.update({
      images: Object.values(state.images).flatMap(({ name, versions }) =>
        versions.map((v) => ({ ...v, name })),
      ),
      bootFiles: Object.values(state.bootFiles),
      isRemoved: (ref) => isRemoved(state, ref),
    });
  };
  update(cluster.state());
  cluster.subscribe(update);
  return { client, replicator };
}

function startApi(
  context: NodeContext,
  cluster: ClusterNode,
  services: LocalServices,
  end: EndProcess,
): Promise<ApiServer> {
  const { config, tls } = context.directory;
  return startApiServer({
    cluster,
    services,
    random: systemRandom,
    logger: context.logger('api'),
    counters: context.counters,
    tls,
    host: config.address,
    port: config.ports.api,
    onInvariantFailure: (error) =>
      end(EXIT_CODE.again, 'node.failed', { reason: error.stack ?? error.message }),
  });
}

interface RunningParts extends ClusterParts {
  readonly dataPlane: DataPlaneWorkers;
  readonly renewal: LifeRenewal;
  readonly content: ContentParts;
  readonly api: ApiServer;
  readonly servers: BootServers;
  readonly log: Logger;
}

/** Has others serve what is served here while this node can still help them to begin; they would do so in any case. */
async function handOver({
  cluster,
  dataPlane,
  log,
}: Pick<RunningParts, 'cluster' | 'dataPlane' | 'log'>): Promise<void> {
  const tooLong = new Promise<'too-long'>((resolve) =>
    systemTimers.setTimer(HAND_OVER_TIMEOUT_MS, () => resolve('too-long')),
  );
  try {
    const done = (async () => {
      await cluster.leave();
      await dataPlane.handedOver();
    })();
    if ((await Promise.race([done, tooLong])) === 'too-long') log.warn('node.handover-too-long', {});
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    log.warn('node.not-handed-over', { reason: error.message });
  }
}

async function stopAll(parts: RunningParts): Promise<void> {
  parts.log.info('node.stopping');
  const tooLong = new Promise<never>((_, reject) => {
    const reason = `not done within ${STOP_WITHIN_MS} ms; what a disk was given may never be`;
    systemTimers.setTimer(STOP_WITHIN_MS, () => reject(new Error(reason)));
  });
  await Promise.race([stopInOrder(parts), tooLong]);
  parts.log.info('node.stopped');
}

async function stopInOrder(parts: RunningParts): Promise<void> {
  await parts.renewal.stop();
  await handOver(parts);
  await parts.servers.close();
  await parts.api.close();
  // Addresses and sessions go while the cluster log still runs, so that others can take over at once.
  await parts.dataPlane.stop();
  await parts.content.replicator.stop();
  parts.members.stop();
  parts.lastWords.stop();
  await parts.cluster.stop();
  await parts.mesh.stop();
  await parts.closeStores();
}
