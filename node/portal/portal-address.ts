import type { CancelTimer, Timers } from '../../base/clock.ts';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { ANNOUNCE_AT_MS, BIND_RETRY_MS } from './limits.ts';

/** What a portal address needs of the world around it. */
export interface PortalAddressPorts {
  /** Puts the address on this node, kept there by the guardian. */
  hold(address: string): Promise<void>;
  drop(address: string): Promise<void>;
  /** Starts to accept connections; the returned function stops and ends those accepted. */
  listen(address: string, port: number): Promise<() => Promise<void>>;
  /** Tells the network where the address now is (gratuitous ARP); does nothing on loopback. */
  announce(address: string): void;
  /** The address is here and listened on. */
  taken(): void;
  /** Whether the group is served here at this very moment. */
  isServing(): boolean;
}

/**
 * One movable portal address: follows its portal group. Wanted while the group is served here; whatever was
 * under way when that changes is finished first and then undone, so that hold and drop never cross.
 */
export class PortalAddress {
  readonly address: string;
  readonly port: number;
  readonly #ports: PortalAddressPorts;
  readonly #timers: Timers;
  readonly #logger: Logger;
  #wanted = false;
  #mayBeHeld = false;
  #working = false;
  #close: (() => Promise<void>) | undefined;
  #announcements: CancelTimer[] = [];
  #waitingForRelease: (() => void)[] = [];

  constructor(options: {
    address: string;
    port: number;
    ports: PortalAddressPorts;
    timers: Timers;
    logger: Logger;
  }) {
    this.address = options.address;
    this.port = options.port;
    this.#ports = options.ports;
    this.#timers = options.timers;
    this.#logger = options.logger;
  }

  get listening(): boolean {
    return this.#close !== undefined;
  }

  /** Says whether the group is served here. Returns at once; the address follows. */
  setWanted(wanted: boolean): void {
    this.#wanted = wanted;
    this.#follow();
  }

  /**
   * Resolves once the address is off this node and nobody listens there: at once when that is so already, else after
   * the next release, however many tries that takes.
   */
  whenReleased(): Promise<void> {
    if (!this.#working && !this.listening && !this.#mayBeHeld) return Promise.resolve();
    return new Promise((resolve) => this.#waitingForRelease.push(resolve));
  }

  /** The guardian took the address away; it is asked for again while it is still wanted. */
  lost(): void {
    this.#mayBeHeld = false;
    this.#cancelAnnouncements();
    this.#follow();
  }

  #follow(): void {
    const isDone = this.#wanted ? this.listening && this.#mayBeHeld : !this.listening && !this.#mayBeHeld;
    if (this.#working || isDone) return;
    this.#working = true;
    const done = (): void => {
      this.#working = false;
      this.#follow();
    };
    const work = this.#wanted ? this.#take() : this.#release();
    work.then(done, (error: unknown) => {
      this.#logger.warn('portal.address.retry', { address: this.address, reason: describeError(error) });
      this.#timers.setTimer(BIND_RETRY_MS, done);
    });
  }

  async #take(): Promise<void> {
    // From here until a drop has succeeded it may be on the interface, whatever the guardian answers.
    this.#mayBeHeld = true;
    await this.#ports.hold(this.address);
    if (!this.#wanted) return;
    try {
      this.#close ??= await this.#ports.listen(this.address, this.port);
    } catch (error) {
      // Never held without a listener: a client would find the address and nobody there.
      await this.#drop();
      throw error;
    }
    this.#announce();
    this.#ports.taken();
    this.#logger.info('portal.address.taken', { address: this.address, port: this.port });
  }

  async #release(): Promise<void> {
    this.#cancelAnnouncements();
    try {
      // The address first: once it is off the interface nobody new reaches the listener.
      await this.#drop();
    } finally {
      const close = this.#close;
      this.#close = undefined;
      await close?.();
    }
    this.#logger.info('portal.address.released', { address: this.address });
    for (const resolve of this.#waitingForRelease.splice(0)) resolve();
  }

  async #drop(): Promise<void> {
    await this.#ports.drop(this.address);
    this.#mayBeHeld = false;
  }

  #announce(): void {
    this.#cancelAnnouncements();
    this.#announcements = ANNOUNCE_AT_MS.map((atMs) =>
      this.#timers.setTimer(atMs, () => {
        // A process that was stopped meanwhile must not call clients to an address it has lost.
        if (this.#ports.isServing()) this.#ports.announce(this.address);
      }),
    );
  }

  #cancelAnnouncements(): void {
    for (const cancel of this.#announcements) cancel();
    this.#announcements = [];
  }
}
