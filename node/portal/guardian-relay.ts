import type { Socket } from 'node:net';
import type { MessagePort } from 'node:worker_threads';
import { describeError } from '../../base/errors.ts';
import { type Logger, silentLogger } from '../../base/logger.ts';
import type { KeptSocket } from '../iscsi/ports.ts';
import type { SocketOrder } from './guardian-protocol.ts';
import { SocketKeeper } from './socket-keeper.ts';

/** What a data-plane worker asks of the node's guardian. */
export interface AddressGuardian {
  /** Resolves once the address is on the interface. @throws Error with the reason when it cannot be put there */
  hold(address: string): Promise<void>;
  drop(address: string): Promise<void>;
  /** This worker's event loop turns. */
  renew(): void;
  /** Has the guardian hold a connection's socket too; see GuardianClient. */
  keep(socket: Socket): KeptSocket | undefined;
}

type ToFirst =
  | { readonly type: 'hold' | 'drop'; readonly id: number; readonly address: string }
  | { readonly type: 'renew' }
  | { readonly type: 'socket'; readonly order: SocketOrder };

type FromFirst =
  /** First of all; see GuardianClient.furtherPassage. */
  | { readonly type: 'passage'; readonly fd: number | undefined; readonly holder: number }
  /** reason: it failed. */
  | { readonly type: 'done'; readonly id: number; readonly reason?: string }
  | { readonly type: 'expired'; readonly addresses: readonly string[] };

/** Where the first worker, which has the guardian, passes on what another one asks of it. */
export interface RelayedWorker {
  expired(addresses: readonly string[]): void;
}

/**
 * To be called once the guardian may put addresses on the interface: what was asked before has waited.
 * @param holder the worker at the other end
 */
export function relayGuardian(
  port: MessagePort,
  holder: number,
  guardian: {
    hold(address: string, holder: number): Promise<void>;
    drop(address: string): Promise<void>;
    renew(holder: number): void;
    furtherPassage(): number | undefined;
    relay(order: SocketOrder): void;
  },
): RelayedWorker {
  const send = (message: FromFirst): void => port.postMessage(message);
  send({ type: 'passage', fd: guardian.furtherPassage(), holder });
  port.on('message', (message: ToFirst) => {
    if (message.type === 'renew') {
      guardian.renew(holder);
      return;
    }
    if (message.type === 'socket') {
      guardian.relay(message.order);
      return;
    }
    const { id, address } = message;
    const done = message.type === 'hold' ? guardian.hold(address, holder) : guardian.drop(address);
    done.then(
      () => send({ type: 'done', id }),
      (error: unknown) => send({ type: 'done', id, reason: describeError(error) }),
    );
  });
  return { expired: (addresses) => send({ type: 'expired', addresses }) };
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * The guardian of a node, as its other workers have it: one process for all of them, so that what it says of the node's end
 * is true of all addresses. The main thread has no part in it, however busy that is.
 */
export class GuardianRelay implements AddressGuardian {
  readonly #port: MessagePort;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #keeper: SocketKeeper | undefined;

  /** @param onExpired the guardian gave these up because this worker was silent too long */
  constructor(
    port: MessagePort,
    onExpired: (addresses: readonly string[]) => void,
    logger: Logger = silentLogger,
  ) {
    this.#port = port;
    port.on('message', (message: FromFirst) => {
      if (message.type === 'passage') {
        const { fd, holder } = message;
        const order = (given: SocketOrder): void => this.#send({ type: 'socket', order: given });
        this.#keeper = new SocketKeeper({ passage: () => fd, order, logger, holder });
        return;
      }
      if (message.type === 'expired') {
        onExpired(message.addresses);
        return;
      }
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.reason === undefined) waiting?.resolve();
      else waiting?.reject(new Error(message.reason));
    });
  }

  hold(address: string): Promise<void> {
    return this.#ask('hold', address);
  }

  drop(address: string): Promise<void> {
    return this.#ask('drop', address);
  }

  renew(): void {
    this.#send({ type: 'renew' });
  }

  keep(socket: Socket): KeptSocket | undefined {
    return this.#keeper?.keep(socket);
  }

  #ask(type: 'hold' | 'drop', address: string): Promise<void> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ type, id, address });
    });
  }

  #send(message: ToFirst): void {
    this.#port.postMessage(message);
  }
}
