import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describeError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { KeptSocket } from '../iscsi/ports.ts';
import { descriptorOf, duplicateOf } from '../net/socket-passing.ts';
import {
  decodeGuardianLine,
  encodeGuardianLine,
  type GuardianAnswer,
  type GuardianOrder,
  SOCKETS_FD,
  type SocketOrder,
} from './guardian-protocol.ts';
import { GUARDIAN_ANSWER_TIMEOUT_MS, GUARDIAN_START_TIMEOUT_MS, GUARDIAN_TTL_MS } from './limits.ts';
import { SocketKeeper } from './socket-keeper.ts';

/** The node's end of its guardian. */
export class GuardianClient {
  readonly #child: ChildProcess;
  readonly #logger: Logger;
  readonly #onExpired: (addresses: readonly string[]) => void;
  readonly #onGone: (reason: string) => void;
  readonly #waiting = new Map<string, { resolve: () => void; reject: (error: Error) => void }[]>();
  readonly #keeper: SocketKeeper;
  readonly #passage: () => number | undefined;
  #stopping = false;

  /**
   * @param options.interfaceName where addresses are put; null on loopback
   * @param options.onExpired the guardian gave these up because this process was silent too long
   * @param options.onGone the guardian died; without one no address may be held, so the node must restart
   */
  constructor(options: {
    interfaceName: string | null;
    logger: Logger;
    onExpired: (addresses: readonly string[]) => void;
    onGone: (reason: string) => void;
  }) {
    this.#logger = options.logger;
    this.#onExpired = options.onExpired;
    this.#onGone = options.onGone;
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const program = fileURLToPath(new URL(`./guardian-main.${extension}`, import.meta.url));
    this.#child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] });
    const passage = this.#child.stdio[SOCKETS_FD] as Socket | undefined;
    passage?.on('error', () => {});
    // On loopback no address moves: there initiators had better know at once.
    this.#passage = () =>
      options.interfaceName === null || passage === undefined ? undefined : descriptorOf(passage);
    this.#keeper = new SocketKeeper({
      passage: this.#passage,
      order: (order) => this.#send(order),
      logger: options.logger,
    });
    this.#child.on('error', (error) => this.#gone(error.message));
    this.#child.on('exit', (code, signal) => this.#gone(`it ended (${signal ?? code})`));
    this.#child.stdin?.on('error', () => {});
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on('line', (line) => this.#receive(line));
    }
    this.#send({ order: 'configure', interface: options.interfaceName });
  }

  /**
   * Resolves once the address is on the interface.
   * @param holder the data-plane worker that is to renew it
   * @throws Error with the reason when it cannot be put there
   */
  hold(address: string, holder = 0): Promise<void> {
    return this.#ask(`held ${address}`, { order: 'hold', address, ttlMs: GUARDIAN_TTL_MS, holder });
  }

  drop(address: string): Promise<void> {
    return this.#ask(`dropped ${address}`, { order: 'drop', address });
  }

  /** Removes what an earlier run may have left on the interface. To come first: waits for the process to start. */
  clear(addresses: readonly string[]): Promise<void> {
    return this.#ask('cleared ', { order: 'clear', addresses }, GUARDIAN_START_TIMEOUT_MS);
  }

  /** Whom it is to show the last word, should this process end. */
  testifyTo(lastWord: Uint8Array, to: readonly { readonly host: string; readonly port: number }[]): void {
    const word = Buffer.from(lastWord).toString('hex');
    this.#send({ order: 'testify', nodePid: process.pid, lastWord: word, to });
  }

  /**
   * Has the guardian hold a connection's socket too, so that nothing tells the initiator of this process's death before
   * another node has the address (docs/adr/0019-a-death-is-not-told-too-soon.md).
   * @returns undefined where that cannot be; the connection then ends with this process
   */
  keep(socket: Socket): KeptSocket | undefined {
    return this.#keeper.keep(socket);
  }

  /** A way of its own for another thread to pass sockets by, for as long as this process lives; undefined: none are kept. */
  furtherPassage(): number | undefined {
    const passage = this.#passage();
    return passage === undefined ? undefined : duplicateOf(passage);
  }

  /** Orders about sockets that another thread has passed. */
  relay(order: SocketOrder): void {
    this.#send(order);
  }

  renew(holder = 0): void {
    this.#send({ order: 'renew', ttlMs: GUARDIAN_TTL_MS, holder });
  }

  /** Ends the guardian, which drops every address first. */
  stop(): void {
    this.#stopping = true;
    this.#child.stdin?.end();
  }

  #send(order: GuardianOrder): void {
    this.#child.stdin?.write(encodeGuardianLine(order));
  }

  #ask(key: string, order: GuardianOrder, timeoutMs = GUARDIAN_ANSWER_TIMEOUT_MS): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the guardian did not answer "${order.order}" in time`)),
        timeoutMs,
      );
      const waiter = {
        resolve: (): void => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error: Error): void => {
          clearTimeout(timer);
          reject(error);
        },
      };
      const queue = this.#waiting.get(key) ?? [];
      queue.push(waiter);
      this.#waiting.set(key, queue);
      this.#send(order);
    });
  }

  #receive(line: string): void {
    let message: GuardianAnswer;
    try {
      message = decodeGuardianLine(line) as GuardianAnswer;
    } catch (error) {
      this.#logger.warn('guardian.bad-line', { reason: describeError(error) });
      return;
    }
    switch (message.answer) {
      case 'held':
      case 'dropped':
        this.#waiting.get(`${message.answer} ${message.address}`)?.shift()?.resolve();
        return;
      case 'cleared':
        this.#waiting.get('cleared ')?.shift()?.resolve();
        return;
      case 'expired':
        this.#logger.warn('guardian.expired', { addresses: message.addresses });
        this.#onExpired(message.addresses);
        return;
      case 'failed': {
        const error = new Error(message.reason);
        this.#waiting.get(`held ${message.address}`)?.shift()?.reject(error);
        this.#waiting.get(`dropped ${message.address}`)?.shift()?.reject(error);
        return;
      }
    }
  }

  #gone(reason: string): void {
    if (!this.#stopping) this.#onGone(reason);
  }
}
