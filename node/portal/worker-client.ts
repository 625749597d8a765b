import { Worker } from 'node:worker_threads';
import type { CopyReadingDocument } from '../../api/contract/group-start.ts';
import type { Timers } from '../../base/clock.ts';
import { describeError, OperationError } from '../../base/errors.ts';
import type { PeerIdentity } from '../../base/peer-transport.ts';
import type { ClusterView } from '../../cluster/ports.ts';
import type { Command } from '../../cluster/state/commands.ts';
import type { ClusterState } from '../../cluster/state/model.ts';
import type { ImagePart, ImageVersionRef } from '../../storage/image/image-source.ts';
import type { ProposalOutcome } from '../../storage/replication/group-state.ts';
import type { IntegrityStatus } from './integrity.ts';
import {
  MAX_WORKER_REQUESTS,
  WORKER_BEAT_MS,
  WORKER_HUNG_MS,
  WORKER_REQUEST_TIMEOUT_MS,
  WORKER_STOP_TIMEOUT_MS,
} from './limits.ts';
import { dataPlaneHeap } from './worker-heap.ts';
import type {
  BeginBootAnswer,
  DataPlaneStatus,
  FatalCause,
  FromWorker,
  ImageUse,
  ToWorker,
  WorkerConfig,
  WorkerRequest,
} from './worker-protocol.ts';

export interface WorkerClientOptions {
  readonly config: WorkerConfig;
  readonly cluster: ClusterView;
  readonly timers: Timers;
  readonly mendImage: (image: ImageVersionRef, part: ImagePart) => Promise<boolean>;
  readonly onFatal: (cause: FatalCause, reason: string) => void;
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The main thread's end of one data-plane worker. */
export class WorkerClient {
  readonly #worker: Worker;
  readonly #cluster: ClusterView;
  readonly #timers: Timers;
  readonly #mendImage: (image: ImageVersionRef, part: ImagePart) => Promise<boolean>;
  readonly #onFatal: (cause: FatalCause, reason: string) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextRequest = 1;
  #beats = 0;
  #latest: ClusterState | undefined;
  #stateScheduled = false;
  #ready!: () => void;
  #stopped!: () => void;
  #stopping = false;
  readonly ready: Promise<void>;
  readonly #whenStopped: Promise<void>;

  constructor(options: WorkerClientOptions) {
    this.#cluster = options.cluster;
    this.#timers = options.timers;
    this.#mendImage = options.mendImage;
    this.#onFatal = options.onFatal;
    this.ready = new Promise((resolve) => {
      this.#ready = resolve;
    });
    this.#whenStopped = new Promise((resolve) => {
      this.#stopped = resolve;
    });
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    this.#worker = new Worker(new URL(`./worker-main.${extension}`, import.meta.url), {
      workerData: options.config,
      transferList: [...options.config.guardianPorts],
      resourceLimits: dataPlaneHeap(),
      name: `data-plane-${options.config.worker}`,
    });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.#onFatal('bug', describeError(error)));
    this.#worker.on('exit', (code) => {
      if (!this.#stopping) this.#onFatal('bug', `the data-plane worker ended with ${code}`);
      this.#stopped();
    });
    this.#publish(this.#cluster.state());
    this.#cluster.subscribe((state) => this.#publish(state));
  }

  beginBoot(client: string): Promise<BeginBootAnswer> {
    return this.#request({ method: 'beginBoot', client }) as Promise<BeginBootAnswer>;
  }

  status(): Promise<DataPlaneStatus> {
    return this.#request({ method: 'status' }) as Promise<DataPlaneStatus>;
  }

  /** What this node's copy of a portal group lacks, as far as it has been read through. */
  readCopy(group: string): Promise<CopyReadingDocument> {
    return this.#request({ method: 'readCopy', group }) as Promise<CopyReadingDocument>;
  }

  /** Which disks that are served here are over an image version. They are made by no older state of the cluster than is known by now. */
  imageUse(image: ImageVersionRef): Promise<readonly ImageUse[]> {
    this.#send({ type: 'state', state: this.#cluster.state() });
    return this.#request({ method: 'imageUse', image }) as Promise<readonly ImageUse[]>;
  }

  /** That process has surely ended: nobody need wait for what it was granted. */
  peerEnded(peer: PeerIdentity): void {
    this.#send({ type: 'ended', peer });
  }

  /** Resolves once what was served here is served elsewhere, as far as that is to be. */
  async handedOver(): Promise<void> {
    await this.#request({ method: 'handedOver' });
  }

  scrub(): Promise<IntegrityStatus> {
    return this.#request({ method: 'scrub' }) as Promise<IntegrityStatus>;
  }

  /** Lets go of every address and session of this worker's, then ends the thread. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#send({ type: 'stop' });
    // A disk may take nothing any more; what ends here may end at any time.
    const cancel = this.#timers.setTimer(WORKER_STOP_TIMEOUT_MS, () => this.#stopped());
    await this.#whenStopped;
    cancel();
    await this.#worker.terminate();
  }

  /** Many entries applied in one turn of the event loop are told as one state. */
  #publish(state: ClusterState): void {
    this.#latest = state;
    if (this.#stateScheduled) return;
    this.#stateScheduled = true;
    queueMicrotask(() => {
      this.#stateScheduled = false;
      if (this.#latest !== undefined) this.#send({ type: 'state', state: this.#latest });
    });
  }

  #request(request: WorkerRequest): Promise<unknown> {
    if (this.#waiting.size >= MAX_WORKER_REQUESTS) {
      throw new OperationError('the data plane has too many requests waiting', {
        kind: 'unavailable',
        code: 'data-plane-busy',
        got: this.#waiting.size,
        accepted: `at most ${MAX_WORKER_REQUESTS}`,
      });
    }
    const id = this.#nextRequest++;
    return new Promise((resolve, reject) => {
      const cancel = this.#timers.setTimer(WORKER_REQUEST_TIMEOUT_MS, () => {
        this.#waiting.delete(id);
        const details = { kind: 'unknown-outcome', code: 'data-plane-silent' } as const;
        reject(new OperationError(`the data plane did not answer "${request.method}" in time`, details));
      });
      this.#waiting.set(id, {
        resolve: (value) => {
          cancel();
          resolve(value);
        },
        reject: (error) => {
          cancel();
          reject(error);
        },
      });
      this.#send({ type: 'request', id, request });
    });
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        this.#watch();
        this.#ready();
        return;
      case 'beat':
        this.#beats++;
        return;
      case 'answer':
        this.#waiting.get(message.id)?.resolve(message.answer);
        this.#waiting.delete(message.id);
        return;
      case 'answer-failed':
        this.#waiting.get(message.id)?.reject(new Error(message.reason));
        this.#waiting.delete(message.id);
        return;
      case 'propose':
        void this.#propose(message.id, message.command);
        return;
      case 'mend':
        this.#mendImage(message.image, message.part).then(
          (isMended) => this.#send({ type: 'mended', id: message.id, isMended }),
          (error: unknown) => this.#onFatal('bug', `mending an image: ${describeError(error)}`),
        );
        return;
      case 'fatal':
        this.#onFatal(message.cause, message.reason);
        return;
      case 'stopped':
        this.#stopped();
        return;
    }
  }

  /**
   * A worker that hangs serves nobody, while this thread would go on saying that the node is well. Only time in
   * which this thread itself ran is counted.
   */
  #watch(): void {
    let seen = this.#beats;
    let silentMs = 0;
    const look = (): void => {
      if (this.#stopping) return;
      silentMs = this.#beats === seen ? silentMs + WORKER_BEAT_MS : 0;
      seen = this.#beats;
      if (silentMs >= WORKER_HUNG_MS)
        this.#onFatal('bug', `the data plane has been silent for ${silentMs} ms`);
      else this.#timers.setTimer(WORKER_BEAT_MS, look);
    };
    this.#timers.setTimer(WORKER_BEAT_MS, look);
  }

  async #propose(id: number, command: Command): Promise<void> {
    let outcome: ProposalOutcome;
    try {
      outcome = (await this.#cluster.propose(command)).ok ? 'applied' : 'refused';
    } catch (error) {
      const certain = error instanceof OperationError && error.kind !== 'unknown-outcome';
      outcome = certain ? 'not-applied' : 'unknown';
    }
    this.#send({ type: 'proposed', id, outcome });
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }
}
