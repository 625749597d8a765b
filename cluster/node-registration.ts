import type { CancelTimer } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import type { ClusterNodeOptions } from './cluster-node-options.ts';
import type { DiskRegistration } from './disk-registration.ts';
import { REGISTER_RETRY_MS } from './limits.ts';
import { failure } from './proposals.ts';
import type { Command, CommandResult } from './state/commands.ts';
import type { ClusterState, WorkerEndpoints } from './state/model.ts';
import { LIVES_UNTOLD } from './state/nodes.ts';
import { LIVES_VERSION, type StateVersions, SUCCESSION_VERSION, versionOf } from './state/versions.ts';

type RegisterNode = Extract<Command, { type: 'registerNode' }>;

type StartDescription = Pick<
  ClusterNodeOptions,
  'nodeId' | 'incarnation' | 'endpoints' | 'boot' | 'timers' | 'logger' | 'onFatal'
>;

export interface NodeRegistrationOptions extends StartDescription {
  readonly versions: StateVersions;
  /** Undefined: this node does not tell its disks apart. */
  readonly disks: DiskRegistration | undefined;
  readonly state: () => ClusterState;
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** The cluster has taken note. */
  readonly onRegistered: () => void;
  /** This start's word does not count any more; another one is needed. */
  readonly onFenced: () => void;
}

/** Has the cluster take note of this start: proposed until it is known what became of it. */
export class NodeRegistration {
  /** Resolves once the cluster has taken note; rejects when it never will. */
  readonly done: Promise<void>;
  readonly #options: NodeRegistrationOptions;
  #markDone: () => void = () => {};
  #fail: (error: Error) => void = () => {};
  #workers: readonly WorkerEndpoints[] = [];
  #isDone = false;
  #isStopped = false;
  #cancelRetry: CancelTimer = () => {};

  constructor(options: NodeRegistrationOptions) {
    this.#options = options;
    this.done = new Promise((resolve, reject) => {
      this.#markDone = resolve;
      this.#fail = reject;
    });
    // Whoever does not wait for it learns of a failure from the log.
    this.done.catch(() => {});
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** @param workers beyond the first, as far as all members know of such */
  begin(workers: readonly WorkerEndpoints[]): void {
    this.#workers = workers;
    this.#register();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelRetry();
    this.#fail(failure('unavailable', 'stopping', 'this node is stopping'));
  }

  #register(): void {
    const { nodeId, incarnation, endpoints, versions, disks, onFatal } = this.#options;
    const node = { nodeId, incarnation, endpoints, stateVersion: versions.newest };
    const working = this.#workers.length === 0 ? {} : { workers: this.#workers };
    const registering = { type: 'registerNode', ...node, ...working } as const;
    if (disks === undefined) this.#propose(registering);
    else {
      this.#identify(disks).then((copies) => this.#propose({ ...registering, ...copies }), onFatal);
    }
  }

  /** Which copies this node has, as far as all members know what is said of them. */
  async #identify(registration: DiskRegistration): Promise<Partial<RegisterNode>> {
    const { state, boot } = this.#options;
    const disks = await registration.all(state());
    if (versionOf(state()) < SUCCESSION_VERSION) return { disks };
    const retired = await registration.retired();
    const knowsLives = versionOf(state()) >= LIVES_VERSION;
    return {
      disks,
      ...(knowsLives ? { lives: await registration.lives(Object.keys(disks)) } : {}),
      ...(boot === undefined ? {} : { boot }),
      ...(retired === undefined ? {} : { retired: knowsLives ? retired : withoutLives(retired) }),
    };
  }

  #propose(command: RegisterNode): void {
    const { propose, timers } = this.#options;
    propose(command).then(
      (result) => this.#ended(result),
      (error: unknown) => {
        if (this.#isStopped) return;
        if (!(error instanceof OperationError)) throw error;
        this.#cancelRetry = timers.setTimer(REGISTER_RETRY_MS, () => this.#register());
      },
    );
  }

  #ended(result: CommandResult): void {
    const { incarnation, logger, onRegistered, onFenced, onFatal } = this.#options;
    if (result.ok) {
      this.#isDone = true;
      logger.info('cluster.registered', { incarnation });
      this.#markDone();
      onRegistered();
      return;
    }
    const { message, kind, code } = result.error;
    // What was applied meanwhile says that all nodes know of them.
    if (code === LIVES_UNTOLD && !this.#isStopped) return this.#register();
    logger.error('cluster.registration-refused', { message, code });
    const error = new OperationError(message, { kind, code });
    this.#fail(error);
    if (code === 'program-too-old') onFatal(error);
    if (code === 'incarnation-fenced') onFenced();
    // A vote that it still has it keeps: see ClusterNode.
  }
}

function withoutLives(retired: NonNullable<RegisterNode['retired']>): NonNullable<RegisterNode['retired']> {
  const entries = Object.entries(retired).map(([group, copies]) => [
    group,
    copies.map((copy) => {
      const { lives: _, ...rest } = copy;
      return rest;
    }),
  ]);
  return Object.fromEntries(entries) as NonNullable<RegisterNode['retired']>;
}
