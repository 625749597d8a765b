import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { CounterSet } from '../../base/counters.ts';
import { describeError, invariant } from '../../base/errors.ts';
import { parseIpv4 } from '../../base/ipv4.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import { ImageCache } from '../../storage/image/image-cache.ts';
import { ImageStore } from '../../storage/image/image-store.ts';
import { nodeFileSystem } from '../../storage/log/file-system.ts';
import { openSegmentedLog } from '../../storage/log/segmented-log.ts';
import { SpareSegments } from '../../storage/log/spare-segments.ts';
import { isDamagedInBlocksAlone } from '../../storage/lun/log-record.ts';
import { CheckpointDirectory } from '../../storage/replication/checkpoint-store.ts';
import { DiskIdentities } from '../../storage/replication/disk-identity.ts';
import { DiskSpace } from '../../storage/replication/disk-space.ts';
import { ReplicationHost } from '../../storage/replication/index.ts';
import { setAsideCopy } from '../../storage/replication/set-aside.ts';
import { noteFile } from '../../storage/scrub/note-file.ts';
import { IdlePolling } from '../iscsi/idle-polling.ts';
import { sessionMemory } from '../iscsi/memory-budget.ts';
import { IscsiPortal } from '../iscsi/portal.ts';
import { TargetSessions } from '../iscsi/target-sessions.ts';
import { announceAddress } from '../net/gratuitous-arp.ts';
import { nudgeConnections } from '../net/tcp-nudge.ts';
import type { Endpoint } from '../net/tcp-segment.ts';
import { PeerMesh } from '../peer/peer-mesh.ts';
import { systemClock, systemLogger, systemPolling, systemRandom, systemTimers } from '../system.ts';
import { CommandChannel } from './command-channel.ts';
import { DataPlane } from './data-plane.ts';
import { causeOf } from './fatal-cause.ts';
import { GroupDirectory } from './group-directory.ts';
import { GuardianClient } from './guardian-client.ts';
import { type AddressGuardian, GuardianRelay, type RelayedWorker, relayGuardian } from './guardian-relay.ts';
import { Integrity } from './integrity.ts';
import { BIND_RETRY_MS, WORKER_BEAT_MS } from './limits.ts';
import { MainQuestions } from './main-questions.ts';
import { NodeTally } from './node-tally.ts';
import { carryOutRemote } from './remote-unit.ts';
import { stopServing } from './stop-serving.ts';
import { hostAndPort, linkTo as linkOfGroup, WorkerPlace } from './worker-place.ts';
import type { FatalCause, FromWorker, ToWorker, WorkerConfig, WorkerRequest } from './worker-protocol.ts';
import { WorkerShares } from './worker-shares.ts';

/**
 * A data-plane worker's composition root: replication, portal groups, their addresses and the iSCSI target,
 * all on one thread of their own, so that a saturated disk path never delays a heartbeat of the cluster log.
 * A node may have several, each with groups of its own.
 */
const port = parentPort;
invariant(port !== null, 'the data-plane worker runs as a worker thread');
const config = workerData as WorkerConfig;
const isFirst = config.worker === 0;
const place = new WorkerPlace(config);
const linkTo = (groupId: string, nodeId: string): string => linkOfGroup(plane.state(), groupId, nodeId);
const logger = systemLogger(config.nodeId, config.logLevel, isFirst ? {} : { worker: config.worker });
const tally = new NodeTally(config.tally);
const counters = new CounterSet();
let guardianTold = '';

const send = (message: FromWorker): void => port.postMessage(message);
const fatal = (cause: FatalCause, reason: string): void => send({ type: 'fatal', cause, reason });
process.on('uncaughtException', (error) => fatal('bug', error.stack ?? error.message));

const questions = new MainQuestions(send, systemTimers);

const mesh = new PeerMesh({
  self: {
    clusterId: config.clusterId,
    nodeId: config.nodeId,
    incarnation: config.incarnation,
    worker: config.worker,
  },
  listen: hostAndPort(place.own.replication),
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
  setAside: (groupId, processes) => {
    const { groupsDirectory } = config;
    const wallMs = systemClock.wallMs();
    return setAsideCopy({ fileSystem: nodeFileSystem, groupsDirectory, groupId, wallMs, processes });
  },
  diskSpace: new DiskSpace({
    space: () => nodeFileSystem.space(config.groupsDirectory),
    spares,
    clock: systemClock,
    logger: logger('replication'),
    counters,
    ...(place.count === 1 ? {} : { appended: tally }),
  }),
  images: cache.over(imageStore),
  otherWorkers: new WorkerShares(config.shares, config.worker),
  clock: systemClock,
  timers: systemTimers,
  logger: logger('replication'),
  counters,
  letGo: (groupId) => plane.letGo(groupId),
  onNotice: (groupId, notice) => plane.heard(groupId, notice),
  proposeShrink: (group, epoch, remove) =>
    questions.propose({ type: 'shrinkInSync', group, epoch, primary: config.nodeId, remove }),
  proposeExpand: (group, epoch, add, incarnation) =>
    questions.propose({ type: 'expandInSync', group, epoch, primary: config.nodeId, add, incarnation }),
  proposeHandOver: (group, epoch) =>
    questions.propose({ type: 'handOverGroup', group, epoch, primary: config.nodeId }),
  onFatal: (error) => {
    const cause = causeOf(error);
    const stack = cause === 'bug' ? (error as Error | undefined)?.stack : undefined;
    fatal(cause, stack ?? describeError(error));
  },
});

const guardian = isFirst ? startGuardian() : undefined;
const relays: RelayedWorker[] = [];
const addressGuardian: AddressGuardian = guardian ?? relayToFirst();

function startGuardian(): GuardianClient {
  return new GuardianClient({
    interfaceName: config.portalInterface,
    logger: logger('guardian'),
    onExpired: (addresses) => {
      plane.addressesLost(addresses);
      for (const relay of relays) relay.expired(addresses);
    },
    onGone: (reason) => fatal('bug', `the guardian is gone: ${reason}`),
  });
}

function relayToFirst(): GuardianRelay {
  const [toFirst] = config.guardianPorts;
  invariant(toFirst !== undefined, 'a further worker reaches the first');
  return new GuardianRelay(toFirst, (addresses) => plane.addressesLost(addresses), logger('guardian'));
}

const targets = new TargetSessions({ timers: systemTimers, logger: logger('iscsi') });
const budget = sessionMemory(config.sessionBytes);
const polling = new IdlePolling(systemPolling, false);
/** The main thread wants one too. */
const hasCoreOfItsOwn = availableParallelism() > place.count;
const movablePortal = makePortal(undefined);
const fixedPortal = makePortal(config.nodeId);

const plane: DataPlane = new DataPlane({
  nodeId: config.nodeId,
  hasGroup: (groupId) => place.hasGroup(groupId),
  replication,
  addressPorts: {
    hold: (address) => addressGuardian.hold(address),
    drop: (address) => addressGuardian.drop(address),
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
  renewAddresses: () => addressGuardian.renew(),
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
  mendImage: (image, part) => questions.mendImage(image, part),
  store: noteFile(nodeFileSystem, config.scrubFile),
  activity,
  readers: place.count,
  readsImages: isFirst,
  clock: systemClock,
  timers: systemTimers,
  logger: logger('integrity'),
  counters,
});

let toldBytes = 0;

/** What clients have read and written by any worker of the node. */
function activity(): number {
  const sessions = [...movablePortal.sessions(), ...fixedPortal.sessions()];
  const bytes = sessions.reduce((sum, session) => sum + session.readBytes + session.writtenBytes, 0);
  // Fewer where a session has ended; it must only be seen that something has moved.
  if (bytes !== toldBytes) tally.moved(Math.abs(bytes - toldBytes));
  toldBytes = bytes;
  return tally.movedBytes;
}

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
      elsewhere: (groupId) => place.elsewhere(groupId),
      ...(fixedAt === undefined ? {} : { fixedAt }),
    }),
    targets,
    budget,
    polling,
    limits: { queueDepth: config.queueDepth },
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: logger('iscsi'),
    counters,
    // By a fixed portal nobody comes to another node: its initiators take another path, and the sooner the better.
    ...(fixedAt === undefined
      ? { onSessionsChange: () => plane.sessionsChanged(), keep: (socket) => addressGuardian.keep(socket) }
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

/** Where the guardian's last word is heard: by the control plane of every other node. */
function tellGuardian({ nodes }: ClusterState): void {
  if (guardian === undefined) return;
  const others = Object.values(nodes).filter(({ nodeId }) => nodeId !== config.nodeId);
  const to = others.map(({ endpoints }) => hostAndPort(endpoints.peer));
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
    case 'imageUse':
      return plane.imageUse(request.image);
    case 'scrub':
      return integrity.scrubNow();
    case 'handedOver':
      return plane.handedOver();
  }
}

function receive(message: ToWorker): void {
  switch (message.type) {
    case 'state':
      mesh.setPeers(place.peers(message.state), new Set(Object.keys(message.state.removedNodes)));
      plane.applyState(message.state);
      // A node that is waited for may be on the same cores.
      polling.isAllowed = hasCoreOfItsOwn && !place.sharesCopies(message.state, config.nodeId);
      tellGuardian(message.state);
      return;
    case 'ended':
      replication.peerEnded(message.peer);
      return;
    case 'proposed':
      questions.proposed(message.id, message.outcome);
      return;
    case 'mended':
      questions.mended(message.id, message.isMended);
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
  if (guardian !== undefined) {
    await guardian.clear(config.portalAddresses);
    for (const [i, toOther] of config.guardianPorts.entries()) {
      relays.push(relayGuardian(toOther, i + 1, guardian));
    }
  }
  port?.on('message', receive);
  await mesh.start();
  await replication.start();
  await fixedPortal.listen(hostAndPort(place.own.iscsi));
  plane.start();
  await integrity.start();
  setInterval(() => send({ type: 'beat' }), WORKER_BEAT_MS);
  send({ type: 'ready' });
}

async function stop(): Promise<void> {
  plane.stop();
  questions.stop();
  await integrity.stop();
  await stopServing({ portals: [movablePortal, fixedPortal], replication, timers: systemTimers });
  await mesh.stop();
  // The last, so that the addresses are dropped whatever the others did.
  guardian?.stop();
  await new Promise((resolve) => setTimeout(resolve, BIND_RETRY_MS));
}

start().catch((error: unknown) => fatal('start', `the data plane: ${describeError(error)}`));
