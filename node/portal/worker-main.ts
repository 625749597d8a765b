import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { CounterSet } from '../../base/counters.ts';
import { describeError, invariant, OperationError } from '../../base/errors.ts';
import { parseIpv4 } from '../../base/ipv4.ts';
import { LogFailure } from '../../base/record-log.ts';
import type { Command } from '../../cluster/state/commands.ts';
import { workerOfGroup, workersOfNode } from '../../cluster/state/data-plane-workers.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { ImageCache } from '../../storage/image/image-cache.ts';
import type { ImagePart, ImageVersionRef } from '../../storage/image/image-source.ts';
import { ImageStore } from '../../storage/image/image-store.ts';
import { nodeFileSystem } from '../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../storage/log/spare-segments.ts';
import { isDamagedInBlocksAlone } from '../../storage/lun/log-record.ts';
import { CheckpointDirectory } from '../../storage/replication/checkpoint-store.ts';
import { DiskIdentities } from '../../storage/replication/disk-identity.ts';
import { DiskSpace } from '../../storage/replication/disk-space.ts';
import type { ProposalOutcome } from '../../storage/replication/group-state.ts';
import { DamagedCopyError, ReplicationHost } from '../../storage/replication/index.ts';
import { setAsideCopy } from '../../storage/replication/set-aside.ts';
import { noteFile } from '../../storage/scrub/note-file.ts';
import { DEFAULT_PORTAL_LIMITS } from '../iscsi/limits.ts';
import { sessionMemory } from '../iscsi/memory-budget.ts';
import { IscsiPortal } from '../iscsi/portal.ts';
import { TargetSessions } from '../iscsi/target-sessions.ts';
import { announceAddress } from '../net/gratuitous-arp.ts';
import { nudgeConnections } from '../net/tcp-nudge.ts';
import type { Endpoint } from '../net/tcp-segment.ts';
import { linkName, type PeerAddress } from '../peer/outbound-link.ts';
import { PeerMesh } from '../peer/peer-mesh.ts';
import { systemClock, systemLogger, systemRandom, systemTimers } from '../system.ts';
import { CommandChannel } from './command-channel.ts';
import { DataPlane } from './data-plane.ts';
import { GroupDirectory } from './group-directory.ts';
import { GuardianClient } from './guardian-client.ts';
import { Integrity } from './integrity.ts';
import { BIND_RETRY_MS, IMAGE_MENDING_WAIT_MS, WORKER_BEAT_MS } from './limits.ts';
import { carryOutRemote } from './remote-unit.ts';
import type { FatalCause, FromWorker, ToWorker, WorkerConfig, WorkerRequest } from './worker-protocol.ts';

/**
 * The data-plane worker's composition root: replication, portal groups, their addresses and the iSCSI target,
 * all on one thread of their own, so that a saturated disk path never delays a heartbeat of the cluster log.
 */
const port = parentPort;
invariant(port !== null, 'the data-plane worker runs as a worker thread');
const config = workerData as WorkerConfig;
const logger = systemLogger(config.nodeId, config.logLevel);
const counters = new CounterSet();
const proposals = new Map<number, (outcome: ProposalOutcome) => void>();
let nextProposal = 1;
let guardianTold = '';
const mendings = new Map<number, (isMended: boolean) => void>();
let nextMending = 1;

const send = (message: FromWorker): void => port.postMessage(message);
const fatal = (cause: FatalCause, reason: string): void => send({ type: 'fatal', cause, reason });
process.on('uncaughtException', (error) => fatal('bug', error.stack ?? error.message));

/** Hands a membership change to the cluster log. */
function propose(command: Command): Promise<ProposalOutcome> {
  const id = nextProposal++;
  return new Promise((resolve) => {
    proposals.set(id, resolve);
    send({ type: 'propose', id, command });
  });
}

/** The main thread has the links to other nodes' images. */
function mendImage(image: ImageVersionRef, part: ImagePart): Promise<boolean> {
  const id = nextMending++;
  return new Promise((resolve) => {
    const cancel = systemTimers.setTimer(IMAGE_MENDING_WAIT_MS, () => done(false));
    const done = (isMended: boolean): void => {
      cancel();
      mendings.delete(id);
      resolve(isMended);
    };
    mendings.set(id, done);
    send({ type: 'mend', id, image, part });
  });
}

const mesh = new PeerMesh({
  self: { clusterId: config.clusterId, nodeId: config.nodeId, incarnation: config.incarnation },
  listen: { host: config.address, port: config.replicationPort },
  peers: config.peers,
  service: 'replication',
  lendsMemory: true,
  credentials: config.tls,
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  logger: logger('replication-link'),
  // The main thread has links of the same kind, with the same names of counters.
  counters: { add: (name, by) => counters.add(`replication.${name}`, by) },
});

const imageStore = new ImageStore({
  directory: config.imagesDirectory,
  logger: logger('images'),
  mend: (image, part) => integrity.mendImage(image, part),
  manifestSha256: ({ name, version }) =>
    plane.state()?.images[name]?.versions.find((v) => v.version === version)?.manifestSha256,
});
const channel = new CommandChannel({
  transport: mesh,
  linkTo,
  timers: systemTimers,
  logger: logger('portal-command'),
  counters,
  carryOut: (command) =>
    carryOutRemote(command, { state: () => plane.state(), groups: plane, targets, logger: logger('scsi') }),
});

const cache = new ImageCache({ limitBytes: config.imageCacheBytes, counters });

const diskIdentities = new DiskIdentities({
  fileSystem: nodeFileSystem,
  groupsDirectory: config.groupsDirectory,
  random: systemRandom,
  logger: logger('replication'),
});

const spares = new SpareSegments(systemRandom);

const replication = new ReplicationHost({
  nodeId: config.nodeId,
  incarnation: config.incarnation,
  transport: channel.transport(),
  linkTo,
  openLog: async (groupId, mustExist, verifyFrom) => {
    const opened = await openSegmentedLog({
      mustExist,
      verifyFrom: verifyFrom ?? 0,
      salvage: isDamagedInBlocksAlone,
      spares,
      directory: join(config.groupsDirectory, groupId, 'log'),
      fileSystem: nodeFileSystem,
      logger: logger('portal-group-log'),
      counters,
    });
    // The log's directory must be there after a loss of power, as what is synced in it will be.
    await nodeFileSystem.syncDirectory(join(config.groupsDirectory, groupId));
    await nodeFileSystem.syncDirectory(config.groupsDirectory);
    return opened.log;
  },
  metaDirectory: config.groupsDirectory,
  checkpoints: new CheckpointDirectory(nodeFileSystem, config.groupsDirectory, (groupId) =>
    diskIdentities.identify(groupId),
  ),
  setAside: (groupId) => setAsideCopy(nodeFileSystem, config.groupsDirectory, groupId, systemClock.wallMs()),
  diskSpace: new DiskSpace({
    space: () => nodeFileSystem.space(config.groupsDirectory),
    spares,
    clock: systemClock,
    logger: logger('replication'),
    counters,
  }),
  images: cache.over(imageStore),
  clock: systemClock,
  timers: systemTimers,
  logger: logger('replication'),
  counters,
  letGo: (groupId) => plane.letGo(groupId),
  onNotice: (groupId, notice) => plane.heard(groupId, notice),
  proposeShrink: (group, epoch, remove) =>
    propose({ type: 'shrinkInSync', group, epoch, primary: config.nodeId, remove }),
  proposeExpand: (group, epoch, add, incarnation) =>
    propose({ type: 'expandInSync', group, epoch, primary: config.nodeId, add, incarnation }),
  onFatal: (error) =>
    error instanceof DamagedCopyError || error instanceof OperationError
      ? fatal('start', error.message)
      : error instanceof LogFailure
        ? fatal('storage', describeError(error))
        : fatal('bug', (error as Error | undefined)?.stack ?? describeError(error)),
});

const guardian = new GuardianClient({
  interfaceName: config.portalInterface,
  logger: logger('guardian'),
  onExpired: (addresses) => plane.addressesLost(addresses),
  onGone: (reason) => fatal('bug', `the guardian is gone: ${reason}`),
});

const targets = new TargetSessions({ timers: systemTimers, logger: logger('iscsi') });
const budget = sessionMemory(DEFAULT_PORTAL_LIMITS.memoryBytes);
const movablePortal = makePortal(undefined);
const fixedPortal = makePortal(config.nodeId);

const plane: DataPlane = new DataPlane({
  nodeId: config.nodeId,
  replication,
  addressPorts: {
    hold: (address) => guardian.hold(address),
    drop: (address) => guardian.drop(address),
    listen: async (host, tcpPort) => {
      const listening = await movablePortal.listen({ host, port: tcpPort });
      return () => movablePortal.unlisten(listening);
    },
    announce: (address) => {
      if (config.portalInterface !== null) announce(address, config.portalInterface);
    },
    nudge: (portal, initiators) => {
      if (config.portalInterface !== null) nudge(portal, initiators);
    },
  },
  renewAddresses: () => guardian.renew(),
  timers: systemTimers,
  logger: logger('data-plane'),
  counters,
  targets,
});
plane.attachPortals({ movable: movablePortal, fixed: fixedPortal });

const integrity: Integrity = new Integrity({
  nodeId: config.nodeId,
  state: () => plane.state(),
  group: (groupId) => replication.group(groupId),
  images: imageStore,
  mendImage,
  store: noteFile(nodeFileSystem, config.scrubFile),
  activity: () =>
    [...movablePortal.sessions(), ...fixedPortal.sessions()].reduce(
      (sum, session) => sum + session.readBytes + session.writtenBytes,
      0,
    ),
  clock: systemClock,
  timers: systemTimers,
  logger: logger('integrity'),
  counters,
});

function makePortal(fixedAt: string | undefined): IscsiPortal {
  return new IscsiPortal({
    directory: new GroupDirectory({
      state: () => plane.state(),
      groups: {
        isServing: (groupId) => plane.isServing(groupId),
        hasMoved: (groupId) => plane.hasMoved(groupId),
        device: (groupId, client) => plane.device(groupId, client),
        standbyDevice: (groupId, client) => plane.standbyDevice(groupId, client),
        paths: (groupId, tag) => plane.paths(groupId, tag),
        forward: (command) => channel.forward(plane.primaryOf(command.groupId), command),
      },
      ...(fixedAt === undefined ? {} : { fixedAt }),
    }),
    targets,
    budget,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: logger('iscsi'),
    counters,
    // By a fixed portal nobody comes to another node: its initiators take another path, and the sooner the better.
    ...(fixedAt === undefined
      ? { onSessionsChange: () => plane.sessionsChanged(), keep: (socket) => guardian.keep(socket) }
      : {}),
  });
}

/** A failure costs clients a moment until their ARP caches are mended otherwise; nothing more. */
function announce(address: string, interfaceName: string): void {
  try {
    announceAddress(parseIpv4(address), interfaceName);
  } catch (error) {
    logger('data-plane').warn('portal.address.not-announced', { address, reason: describeError(error) });
  }
}

/** A failure costs initiators a moment until they find out by themselves. */
function nudge(portal: Endpoint, initiators: readonly Endpoint[]): void {
  try {
    nudgeConnections(portal, initiators);
    counters.add('portal.nudged', initiators.length);
  } catch (error) {
    logger('data-plane').warn('portal.not-nudged', { ...portal, reason: describeError(error) });
  }
}

/** The workers of the configuration's nodes; among those that are no more, nothing is replicated. */
function peersFor({ nodes }: ClusterState): PeerAddress[] {
  return Object.values(nodes).flatMap((node) =>
    workersOfNode(node).map(({ replication: endpoint }, worker) => {
      const [host = '', port = ''] = endpoint.split(':');
      return { nodeId: node.nodeId, worker, host, port: Number(port) };
    }),
  );
}

/** The link to whichever worker of that node has the group. */
function linkTo(groupId: string, nodeId: string): string {
  const node = plane.state()?.nodes[nodeId];
  if (node === undefined) return nodeId;
  return linkName({ nodeId, worker: workerOfGroup(groupId, workersOfNode(node).length) });
}

/** Where the guardian's last word is heard: by the control plane of every other node. */
function tellGuardian({ nodes }: ClusterState): void {
  const others = Object.values(nodes).filter(({ nodeId }) => nodeId !== config.nodeId);
  const to = others.map(({ endpoints }) => {
    const [host = '', port = ''] = endpoints.peer.split(':');
    return { host, port: Number(port) };
  });
  const told = JSON.stringify(to);
  if (told === guardianTold) return;
  guardianTold = told;
  guardian.testifyTo(config.lastWord, to);
}

async function answer(request: WorkerRequest): Promise<unknown> {
  switch (request.method) {
    case 'beginBoot':
      return plane.beginBoot(request.client);
    case 'status':
      return { ...plane.status(), integrity: integrity.status() };
    case 'readCopy':
      return replication.group(request.group)?.readCopy() ?? { kind: 'none' };
    case 'scrub':
      return integrity.scrubNow();
    case 'handedOver':
      return plane.handedOver();
  }
}

function receive(message: ToWorker): void {
  switch (message.type) {
    case 'state':
      mesh.setPeers(peersFor(message.state), new Set(Object.keys(message.state.removedNodes)));
      plane.applyState(message.state);
      tellGuardian(message.state);
      return;
    case 'ended':
      replication.peerEnded(message.peer);
      return;
    case 'proposed':
      proposals.get(message.id)?.(message.outcome);
      proposals.delete(message.id);
      return;
    case 'mended':
      mendings.get(message.id)?.(message.isMended);
      return;
    case 'request':
      answer(message.request).then(
        (value) => send({ type: 'answer', id: message.id, answer: value }),
        (error: unknown) => send({ type: 'answer-failed', id: message.id, reason: describeError(error) }),
      );
      return;
    case 'stop':
      stop().then(
        () => send({ type: 'stopped' }),
        (error: unknown) => fatal('bug', `stopping: ${describeError(error)}`),
      );
      return;
  }
}

async function start(): Promise<void> {
  await guardian.clear(config.portalAddresses);
  port?.on('message', receive);
  await mesh.start();
  await replication.start();
  await fixedPortal.listen({ host: config.address, port: config.iscsiPort });
  plane.start();
  await integrity.start();
  setInterval(() => send({ type: 'beat' }), WORKER_BEAT_MS);
  send({ type: 'ready' });
}

async function stop(): Promise<void> {
  plane.stop();
  // What another node has to give is not waited for.
  for (const done of [...mendings.values()]) done(false);
  await integrity.stop();
  await Promise.all([movablePortal.close(), fixedPortal.close()]);
  await replication.stop();
  await mesh.stop();
  // The last, so that the addresses are dropped whatever the others did.
  guardian.stop();
  await new Promise((resolve) => setTimeout(resolve, BIND_RETRY_MS));
}

start().catch((error: unknown) => fatal('start', `the data plane: ${describeError(error)}`));
