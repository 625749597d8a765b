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
  #working = false;
  #close: (() => Promise<void>) | undefined;
  #announcements: CancelTimer[] = [];

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

  /** The guardian took the address away: the listener must go too, and comes back if still wanted. */
  lost(): void {
    const close = this.#close;
    this.#close = undefined;
    if (close === undefined) return;
    this.#runExclusive(close());
  }

  #follow(): void {
    if (this.#working || this.#wanted === this.listening) return;
    this.#runExclusive(this.#wanted ? this.#take() : this.#release());
  }

  #runExclusive(work: Promise<void>): void {
    this.#working = true;
    const done = (): void => {
      this.#working = false;
      this.#follow();
    };
    work.then(done, (error: unknown) => {
      this.#logger.warn('portal.address.retry', { address: this.address, reason: describeError(error) });
      this.#timers.setTimer(BIND_RETRY_MS, done);
    });
  }

  async #take(): Promise<void> {
    await this.#ports.hold(this.address);
    if (!this.#wanted) {
      await this.#ports.drop(this.address);
      return;
    }
    try {
      this.#close = await this.#ports.listen(this.address, this.port);
    } catch (error) {
      // Never held without a listener: a client would find the address and nobody there.
      await this.#ports.drop(this.address);
      throw error;
    }
    this.#announcements = ANNOUNCE_AT_MS.map((atMs) =>
      this.#timers.setTimer(atMs, () => this.#ports.announce(this.address)),
    );
    this.#logger.info('portal.address.taken', { address: this.address, port: this.port });
  }

  async #release(): Promise<void> {
    for (const cancel of this.#announcements) cancel();
    this.#announcements = [];
    const close = this.#close;
    this.#close = undefined;
    // The address first: once it is off the interface nobody reaches the sessions that are being closed.
    await this.#ports.drop(this.address);
    await close?.();
    this.#logger.info('portal.address.released', { address: this.address });
  }
}
