import { MessageChannel } from 'node:worker_threads';
import { CounterSet } from '../../base/counters.ts';
import { invariant } from '../../base/errors.ts';
import type { PeerIdentity } from '../../base/peer-transport.ts';
import type { ClusterView } from '../../cluster/ports.ts';
import { workerOfGroup } from '../../cluster/state/data-plane-workers.ts';
import type { ImageVersionRef } from '../../storage/image/image-source.ts';
import { MAX_DAMAGE_TOLD } from '../../storage/scrub/limits.ts';
import { DEFAULT_PORTAL_LIMITS } from '../iscsi/limits.ts';
import type { IntegrityStatus } from './integrity.ts';
import { MIN_WORKER_CACHE_BYTES, MIN_WORKER_SESSION_MEMORY_BYTES } from './limits.ts';
import { NodeTally } from './node-tally.ts';
import { WorkerClient, type WorkerClientOptions } from './worker-client.ts';
import type { BeginBootAnswer, DataPlaneStatus, ImageUse, WorkerConfig } from './worker-protocol.ts';
import { WorkerShares } from './worker-shares.ts';

/** The main thread's end of one worker, as far as it is needed here. */
export type DataPlaneWorker = Pick<
  WorkerClient,
  'ready' | 'beginBoot' | 'readCopy' | 'imageUse' | 'status' | 'scrub' | 'handedOver' | 'peerEnded' | 'stop'
>;

/** What all workers of a node are started with; memory is for all of them together. */
export type DataPlaneConfig = Omit<
  WorkerConfig,
  'worker' | 'tally' | 'shares' | 'guardianPorts' | 'sessionBytes'
>;

/** Starts a node's workers, of which the first has the guardian. */
export function startWorkers(
  config: DataPlaneConfig,
  options: Omit<WorkerClientOptions, 'config'>,
): WorkerClient[] {
  const { workers } = config;
  const { memory: tally } = new NodeTally();
  const shares = WorkerShares.memoryFor(workers.length);
  const channels = workers.slice(1).map(() => new MessageChannel());
  const share = (bytes: number, leastBytes: number): number =>
    Math.max(Math.min(bytes, leastBytes), Math.floor(bytes / workers.length));
  return workers.map(
    (_, worker) =>
      new WorkerClient({
        ...options,
        config: {
          ...config,
          worker,
          tally,
          shares,
          guardianPorts:
            worker === 0
              ? channels.map(({ port1 }) => port1)
              : channels.slice(worker - 1, worker).map(({ port2 }) => port2),
          scrubFile: worker === 0 ? config.scrubFile : config.scrubFile.replace(/(\.\w+)$/, `-${worker}$1`),
          imageCacheBytes: share(config.imageCacheBytes, MIN_WORKER_CACHE_BYTES),
          sessionBytes: share(DEFAULT_PORTAL_LIMITS.memoryBytes, MIN_WORKER_SESSION_MEMORY_BYTES),
        },
      }),
  );
}

/** The data plane of a node, whose workers each have some of its portal groups. */
export class DataPlaneWorkers {
  readonly #workers: readonly DataPlaneWorker[];
  readonly #cluster: ClusterView;
  /** Resolves once every worker is ready. */
  readonly ready: Promise<void>;

  constructor(workers: readonly DataPlaneWorker[], cluster: ClusterView) {
    this.#workers = workers;
    this.#cluster = cluster;
    this.ready = Promise.all(workers.map((worker) => worker.ready)).then(() => {});
  }

  /** Of workers. */
  get count(): number {
    return this.#workers.length;
  }

  async beginBoot(client: string): Promise<BeginBootAnswer> {
    const group = this.#cluster.state().clients[client]?.portalGroup;
    if (group === undefined) return { kind: 'not-serving' };
    return this.#workerOf(group).beginBoot(client);
  }

  readCopy(group: string): ReturnType<DataPlaneWorker['readCopy']> {
    return this.#workerOf(group).readCopy(group);
  }

  /** Which disks that are served here are over an image version, and will be so whatever loses its power. */
  async imageUse(image: ImageVersionRef): Promise<readonly ImageUse[]> {
    return (await this.#all((worker) => worker.imageUse(image))).flat();
  }

  async status(): Promise<DataPlaneStatus> {
    const all = await this.#all((worker) => worker.status());
    return {
      groups: all.flatMap(({ groups }) => groups),
      sessions: all.flatMap(({ sessions }) => sessions),
      luns: all.flatMap(({ luns }) => luns),
      integrity: integrityOf(all.map(({ integrity }) => integrity)),
      counters: sumOf(all.map(({ counters }) => counters)),
    };
  }

  async scrub(): Promise<IntegrityStatus> {
    return integrityOf(await this.#all((worker) => worker.scrub()));
  }

  /** That process has surely ended: nobody need wait for what it was granted. */
  peerEnded(peer: PeerIdentity): void {
    for (const worker of this.#workers) worker.peerEnded(peer);
  }

  /** Resolves once what was served here is served elsewhere, as far as that is to be. */
  async handedOver(): Promise<void> {
    await this.#all((worker) => worker.handedOver());
  }

  /** Lets go of every address and session, then ends the threads. */
  async stop(): Promise<void> {
    const [first, ...others] = this.#workers;
    // By its guardian the others let go of their addresses.
    await Promise.all(others.map((worker) => worker.stop()));
    await first?.stop();
  }

  #workerOf(groupId: string): DataPlaneWorker {
    const worker = this.#workers[workerOfGroup(groupId, this.#workers.length)];
    invariant(worker !== undefined, 'every group is one of the workers’');
    return worker;
  }

  #all<T>(ask: (worker: DataPlaneWorker) => Promise<T>): Promise<T[]> {
    return Promise.all(this.#workers.map(ask));
  }
}

/** Counters of several threads, which count under the same names. */
export function sumOf(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum = new CounterSet();
  for (const counters of all) for (const [name, count] of Object.entries(counters)) sum.add(name, count);
  return sum.snapshot();
}

/** A pass is under way while one of them is in one, and all was read through when the last of them had done so. */
function integrityOf(all: readonly IntegrityStatus[]): IntegrityStatus {
  const sum = (count: (one: IntegrityStatus) => number): number =>
    all.reduce((total, one) => total + count(one), 0);
  const earliest = (times: readonly number[]): number | undefined =>
    times.length === 0 ? undefined : Math.min(...times);
  const completed = all.flatMap(({ lastCompletedAtMs }) => lastCompletedAtMs ?? []);
  const startedAtMs = earliest(all.flatMap((one) => one.startedAtMs ?? []));
  const isThrough = (one: IntegrityStatus): boolean =>
    one.startedAtMs === undefined && startedAtMs !== undefined && (one.lastCompletedAtMs ?? 0) >= startedAtMs;
  return {
    startedAtMs,
    lastCompletedAtMs: completed.length < all.length ? undefined : earliest(completed),
    doneBytes: sum((one) => (isThrough(one) ? one.totalBytes : one.doneBytes)),
    totalBytes: sum(({ totalBytes }) => totalBytes),
    found: sum(({ found }) => found),
    mended: sum(({ mended }) => mended),
    left: all.flatMap(({ left }) => left).slice(0, MAX_DAMAGE_TOLD),
    leftCount: sum(({ leftCount }) => leftCount),
  };
}
