import type { Timers } from '../../base/clock.ts';
import { ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { BlockDevice } from '../../storage/block-device.ts';
import { confirmServing } from './confirmation.ts';
import { CopyResults } from './copy-results.ts';
import { partsOfNexus } from './nexus-name.ts';
import { Reservation } from './reservation.ts';
import { SanitizeOperation } from './sanitize-operation.ts';
import type { Sense } from './sense.ts';
import {
  decodeServerState,
  EMPTY_SERVER_STATE,
  encodeServerState,
  type SanitizeState,
  type ServerState,
  withoutSanitize,
} from './server-state.ts';
import { WriteGate } from './write-gate.ts';

/** One initiator's way to the unit (an I_T nexus), as the others see it. */
export interface Nexus {
  /** As persistent reservations name it (nexus-name.ts). */
  readonly port: string;
  raiseAttention(attention: Sense): void;
  /** Ends its tasks on the unit without a response; resolves once the device has let go of them. */
  abortTasks(): Promise<void>;
}

export interface UnitStateOptions {
  readonly timers: Timers;
  readonly logger: Logger;
}

/** What all initiators of one logical unit share. Made with the first session, kept while there is one. */
export class UnitState {
  readonly reservation = new Reservation();
  readonly gate = new WriteGate();
  readonly copyResults = new CopyResults();
  readonly #options: UnitStateOptions;
  readonly #nexuses = new Set<Nexus>();
  #device: BlockDevice;
  #seen: Uint8Array | undefined;
  #server: ServerState = EMPTY_SERVER_STATE;
  #sanitize: SanitizeOperation | undefined;
  /** One is being noted in the server state, to begin once it is. */
  #isStartingSanitize = false;
  /** The end of the last change to the server state: changes are made one by one. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(device: BlockDevice, options: UnitStateOptions) {
    this.#device = device;
    this.#options = options;
  }

  /** A session begins; of several devices for the same unit the newest counts. */
  attach(nexus: Nexus, device: BlockDevice): void {
    this.#nexuses.add(nexus);
    this.#device = device;
  }

  /** Carries on what the unit was left in. Only where the unit is served. */
  resume(): void {
    if (this.#hasSanitize || this.#device.serverState === undefined) return;
    try {
      const { sanitize } = this.server;
      if (sanitize !== undefined && !sanitize.failed) this.#runSanitize(sanitize);
    } catch (error) {
      // Every command will run into the same.
      if (!(error instanceof ProtocolError)) throw error;
    }
  }

  detach(nexus: Nexus): void {
    this.#nexuses.delete(nexus);
    this.reservation.release(nexus);
    this.copyResults.forget(nexus);
  }

  /** Whether it can be forgotten: nothing is under way, and no session needs it. */
  get isIdle(): boolean {
    return this.#nexuses.size === 0 && !this.#hasSanitize;
  }

  get #hasSanitize(): boolean {
    return this.#sanitize !== undefined || this.#isStartingSanitize;
  }

  /** As committed in the device. @throws ProtocolError */
  get server(): ServerState {
    const bytes = this.#device.serverState;
    if (bytes !== this.#seen) {
      this.#server = bytes === undefined ? EMPTY_SERVER_STATE : decodeServerState(bytes);
      this.#seen = bytes;
    }
    return this.#server;
  }

  /** Whether a command has to be looked at more closely than by what it says itself. */
  get isGuarded(): boolean {
    const { reservations, modes, sanitize } = this.server;
    return (
      reservations.reservation !== undefined ||
      sanitize !== undefined ||
      modes.softwareWriteProtect ||
      this.reservation.isHeld ||
      this.#sanitize !== undefined
    );
  }

  /** Whether initiators want sense data in descriptor format (D_SENSE); not where the server state cannot be read. */
  get wantsDescriptorSense(): boolean {
    try {
      return this.server.modes.descriptorSense;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return false;
    }
  }

  /** Every write goes to stable storage before its answer, since an initiator has cleared WCE. */
  get isWriteThrough(): boolean {
    return this.server.modes.writeCacheDisabled;
  }

  /**
   * Changes the server state by what `decide` makes of the present one, and resolves once the change is safe.
   * `decide` gives undefined to leave it as it is, which then is certain to be the present one.
   * @throws DeviceError, and then nothing has changed
   */
  change(decide: (present: ServerState) => ServerState | undefined): Promise<void> {
    const turn = this.#changing.then(async () => {
      const next = decide(this.server);
      if (next !== undefined && next !== this.server) {
        await this.#device.saveServerState(encodeServerState(next));
      } else {
        await confirmServing(this.#device);
      }
    });
    this.#changing = turn.catch(() => undefined);
    return turn;
  }

  /** Initiator ports of this name that have a session with the unit here. */
  portsOf(initiatorName: string): readonly string[] {
    const ports = Array.from(this.#nexuses, ({ port }) => partsOfNexus(port).initiatorPort);
    return [...new Set(ports)].filter((port) => port.startsWith(`${initiatorName},i,0x`));
  }

  /** Tells every nexus of one of the ports, or all if none are named, except `but`. */
  tell(attention: Sense, to: { readonly ports?: ReadonlySet<string>; readonly but?: Nexus }): void {
    for (const nexus of this.#nexuses) {
      if (nexus === to.but || (to.ports !== undefined && !to.ports.has(nexus.port))) continue;
      nexus.raiseAttention(attention);
    }
  }

  /** Ends what nexuses of these ports have under way, except those of `but`. */
  async abortTasksOf(ports: ReadonlySet<string>, but: Nexus): Promise<void> {
    const others = [...this.#nexuses].filter((nexus) => nexus !== but && ports.has(nexus.port));
    await Promise.all(others.map((nexus) => nexus.abortTasks()));
  }

  get sanitize(): SanitizeOperation | undefined {
    return this.#sanitize;
  }

  /**
   * Notes in the server state that it has begun, then begins.
   * @returns its end; undefined where one is under way, or is about to be
   * @throws DeviceError
   */
  async startSanitize(state: SanitizeState): Promise<{ readonly ended: Promise<void> } | undefined> {
    if (this.#hasSanitize) return undefined;
    this.#isStartingSanitize = true;
    try {
      await this.change((present) => ({ ...present, sanitize: state }));
      return { ended: this.#runSanitize(state).ended };
    } finally {
      this.#isStartingSanitize = false;
    }
  }

  #runSanitize(state: SanitizeState): SanitizeOperation {
    const device = this.#device;
    const operation = new SanitizeOperation(state, device, this.gate, this.#options, async (failed) => {
      await this.change((present) =>
        failed ? { ...present, sanitize: { ...state, failed } } : withoutSanitize(present),
      );
    });
    this.#sanitize = operation;
    void operation.ended.finally(() => {
      this.#sanitize = undefined;
    });
    return operation;
  }

  /** Stops what goes on without a task; whoever serves the unit next carries it on. */
  async close(): Promise<void> {
    this.#sanitize?.stop();
    await this.#sanitize?.ended;
  }
}
