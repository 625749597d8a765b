import { Worker } from 'node:worker_threads';
import { describeError, OperationError } from '../../base/errors.ts';
import type { PortalAddress } from '../iscsi/ports.ts';
import { dataPlaneHeap } from '../portal/worker-heap.ts';
import type { FromServeWorker, ServeWorkerConfig, ToServeWorker } from './worker-protocol.ts';

/** The main thread's end of one worker of `serve-lun`. */
export class ServeWorker {
  readonly #worker: Worker;
  readonly #index: number;
  readonly listening: Promise<readonly PortalAddress[]>;
  /** Never resolves; rejects when the worker has failed or ended by itself. */
  readonly failed: Promise<never>;
  #listening!: (portals: readonly PortalAddress[]) => void;
  #failed!: (error: Error) => void;
  #stopped: (() => void) | undefined;

  constructor(config: ServeWorkerConfig) {
    this.#index = config.worker;
    this.listening = new Promise((resolve) => {
      this.#listening = resolve;
    });
    this.failed = new Promise((_, reject) => {
      this.#failed = reject;
    });
    // Whoever waits for it hears of it; until then it is not to end the process.
    this.failed.catch(() => {});
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    this.#worker = new Worker(new URL(`./worker-main.${extension}`, import.meta.url), {
      workerData: config,
      resourceLimits: dataPlaneHeap(),
      name: `serve-lun-${config.worker}`,
    });
    this.#worker.on('message', (message: FromServeWorker) => this.#receive(message));
    this.#worker.on('error', (error) =>
      this.#failed(new Error(`worker ${this.#index}: ${describeError(error)}`)),
    );
    this.#worker.on('exit', (code) => this.#failed(new Error(`worker ${this.#index} ended with ${code}`)));
  }

  setPortals(portals: readonly (readonly PortalAddress[])[]): void {
    this.#send({ type: 'portals', portals });
  }

  /** Resolves once its sessions have ended and all it holds is on the disk. */
  stop(merge: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#stopped = resolve;
      this.#send({ type: 'stop', merge });
    });
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(message: ToServeWorker): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromServeWorker): void {
    switch (message.type) {
      case 'listening':
        this.#listening(message.portals);
        return;
      case 'stopped':
        this.#stopped?.();
        return;
      case 'failed': {
        const { refused, reason } = message;
        this.#failed(
          refused === undefined
            ? new Error(`worker ${this.#index} failed: ${reason}`)
            : new OperationError(reason, { kind: 'unavailable', ...refused }),
        );
      }
    }
  }
}
