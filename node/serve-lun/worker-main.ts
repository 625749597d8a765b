import { availableParallelism } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { CounterSet } from '../../base/counters.ts';
import { describeError, invariant, OperationError } from '../../base/errors.ts';
import type { BlockDevice } from '../../storage/block-device.ts';
import { ImageCache } from '../../storage/image/image-cache.ts';
import type { ImageSource } from '../../storage/image/image-source.ts';
import { RawImage } from '../../storage/image/raw-image.ts';
import { openToRead } from '../../storage/log/file-system.ts';
import { SpareSegments } from '../../storage/log/spare-segments.ts';
import { IdlePolling } from '../iscsi/idle-polling.ts';
import { IscsiPortal } from '../iscsi/portal.ts';
import type { PortalAddress } from '../iscsi/ports.ts';
import { systemClock, systemLogger, systemPolling, systemRandom, systemTimers } from '../system.ts';
import { FileLun } from './file-lun.ts';
import { LunDirectory } from './lun-directory.ts';
import { ReadOnlyDevice } from './read-only-device.ts';
import type { FromServeWorker, ServedFile, ServeWorkerConfig, ToServeWorker } from './worker-protocol.ts';

/** One data-plane thread of `serve-lun`: the disks of its files and the iSCSI target in front of them. */
const port = parentPort;
invariant(port !== null, 'a worker of serve-lun runs as a worker thread');
const config = workerData as ServeWorkerConfig;
const logger = systemLogger(`serve-lun-${config.worker}`, config.logLevel);
const counters = new CounterSet();
const luns = new Map<ServedFile, FileLun>();

const send = (message: FromServeWorker): void => port.postMessage(message);

function fail(error: unknown): void {
  if (error instanceof OperationError) {
    const { message, code, got, accepted } = error;
    send({ type: 'failed', reason: message, refused: { code, got: String(got), accepted: accepted ?? '' } });
  } else {
    send({ type: 'failed', reason: (error as Error | undefined)?.stack ?? describeError(error) });
  }
}
process.on('uncaughtException', fail);

/** An image is named by the path of its file. */
const source: ImageSource = {
  open: async ({ name }) => {
    const file = config.files.find(({ path }) => path === name);
    return file === undefined ? undefined : new RawImage(await openToRead(name), file.sizeBytes, name);
  },
};

const cache = new ImageCache({ limitBytes: config.cacheBytes, counters });
const images = cache.over(source);
const spares = new SpareSegments(systemRandom);

function deviceOf(file: ServedFile): BlockDevice | undefined {
  const device = luns.get(file)?.device();
  return device !== undefined && config.readOnly ? new ReadOnlyDevice(device) : device;
}

const directory = new LunDirectory(config.worker, config.files, deviceOf);
const portal = new IscsiPortal({
  directory,
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  logger: logger('iscsi'),
  counters,
  limits: { memoryBytes: config.sessionBytes, queueDepth: config.queueDepth },
  polling: new IdlePolling(systemPolling, availableParallelism() >= config.workers),
});

async function start(): Promise<void> {
  for (const file of config.files.filter(({ worker }) => worker === config.worker)) {
    const parts = { images, clock: systemClock, timers: systemTimers, counters, spares, onFatal: fail };
    luns.set(file, await FileLun.open(file, { ...parts, logger: logger('lun') }));
  }
  const portals: PortalAddress[] = [];
  for (const { address, port: first } of config.listen) portals.push(await listen(address, first));
  send({ type: 'listening', portals });
}

async function listen(address: string, firstPort: number): Promise<PortalAddress> {
  const tcpPort = firstPort === 0 ? 0 : firstPort + config.worker;
  try {
    return await portal.listen({ host: address, port: tcpPort });
  } catch (error) {
    throw new OperationError(`cannot listen at ${address}:${tcpPort}: ${describeError(error)}`, {
      kind: 'unavailable',
      code: 'cannot-listen',
      got: `${address}:${tcpPort}`,
      accepted: 'an address of this host and a port that is free; port 0 takes any',
    });
  }
}

async function stop(merge: boolean): Promise<void> {
  await portal.close();
  for (const lun of luns.values()) {
    if (merge) await lun.merge();
    await lun.stop();
  }
}

port.on('message', (message: ToServeWorker) => {
  if (message.type === 'portals') directory.setPortals(message.portals);
  else stop(message.merge).then(() => send({ type: 'stopped' }), fail);
});

start().catch(fail);
