import { connectInitiator, type Initiator, type InitiatorOptions } from './iscsi-initiator.ts';
import { ConnectionLostError, LoginRefusedError } from './iscsi-wire.ts';
import { unmapRequest } from './scsi-exchange.ts';

/**
 * How a silent target is found out: NOP-Out as often as this, and the connection given up when none is answered for
 * this long. A target that was stopped has taken what was sent, so TCP alone would wait for ever.
 */
export interface KeepAlive {
  readonly everyMs: number;
  readonly timeoutMs: number;
}

/**
 * An initiator as an operating system keeps it for its root disk: when the connection is lost it logs in to
 * the same portal again, at once and for ever, and sends what was outstanding once more. Its callers only
 * see that a command takes longer.
 */
export class PersistentInitiator {
  readonly #options: InitiatorOptions;
  readonly #retryMs: number;
  readonly #keepAlive: KeepAlive | undefined;
  #current: Promise<Initiator> | undefined;
  #stopped = false;
  /** Logins after the first. */
  reconnects = 0;
  /** Sessions whose end the target announced. */
  announcedDrops = 0;
  /** Whether a session stands at the moment. */
  isLoggedIn = false;
  #loggedInOnce = false;

  /**
   * @param retryMs pause between attempts to log in
   * @param keepAlive absent: a target that falls silent without ending the connection is waited for
   */
  constructor(options: InitiatorOptions, retryMs = 100, keepAlive?: KeepAlive) {
    this.#options = options;
    this.#retryMs = retryMs;
    this.#keepAlive = keepAlive;
  }

  async capacityBlocks(): Promise<number> {
    return (await this.#connected()).capacity.blocks;
  }

  read(lba: number, blocks: number): Promise<Uint8Array> {
    return this.#insist((initiator) => initiator.read(lba, blocks));
  }

  /** Resolves only once the target has answered GOOD; written once or several times, with the same data. */
  write(lba: number, data: Uint8Array, options: { forceUnitAccess?: boolean } = {}): Promise<void> {
    return this.#insist((initiator) => initiator.write(lba, data, options));
  }

  async unmap(lba: number, blocks: number): Promise<void> {
    await this.#insist((initiator) => initiator.good('UNMAP', unmapRequest(lba, blocks)));
  }

  flush(): Promise<void> {
    return this.#insist((initiator) => initiator.flush());
  }

  /** Ends without a word; what is outstanding rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const current = this.#current;
    this.#current = undefined;
    await current?.then(
      (initiator) => initiator.destroy(),
      () => {},
    );
  }

  async #insist<T>(command: (initiator: Initiator) => Promise<T>): Promise<T> {
    for (;;) {
      const initiator = await this.#connected();
      try {
        return await command(initiator);
      } catch (error) {
        if (!(error instanceof ConnectionLostError) || this.#stopped) throw error;
      }
    }
  }

  #connected(): Promise<Initiator> {
    if (this.#stopped) return Promise.reject(new ConnectionLostError('the initiator was stopped'));
    this.#current ??= this.#connect();
    return this.#current;
  }

  async #connect(): Promise<Initiator> {
    for (;;) {
      try {
        const initiator = await connectInitiator(this.#options);
        if (this.#loggedInOnce) this.reconnects++;
        this.#loggedInOnce = true;
        this.isLoggedIn = true;
        const stopPings = this.#keepAlive === undefined ? undefined : ping(initiator, this.#keepAlive);
        initiator.onClose(() => {
          stopPings?.();
          if (initiator.seen.asyncMessages > 0) this.announcedDrops++;
          this.isLoggedIn = false;
          this.#current = undefined;
        });
        return initiator;
      } catch (error) {
        if (this.#stopped || !isTransient(error)) {
          this.#current = undefined;
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, this.#retryMs));
      }
    }
  }
}

/** @returns what ends it */
function ping(initiator: Initiator, { everyMs, timeoutMs }: KeepAlive): () => void {
  let sentMs: number | undefined;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (sentMs !== undefined) {
      if (nowMs - sentMs > timeoutMs) initiator.destroy();
      return;
    }
    sentMs = nowMs;
    initiator.ping().then(
      () => {
        sentMs = undefined;
      },
      () => {},
    );
  }, everyMs);
  return () => clearInterval(timer);
}

/** Nobody there, or there but not able yet (status class 3); a refusal for good is not retried. */
function isTransient(error: unknown): boolean {
  if (error instanceof LoginRefusedError) return error.status >>> 8 === 3;
  return error instanceof ConnectionLostError;
}
