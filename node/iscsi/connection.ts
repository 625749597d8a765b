import type { Socket } from 'node:net';
import { describeError, errorCode, ProtocolError } from '../../base/errors.ts';
import { CHAP_NONCE_BYTES } from './chap.ts';
import type { ConnectionHost } from './connection-host.ts';
import { Framer } from './framer.ts';
import {
  LOGIN_DATA_SEGMENT_BYTES,
  MAX_OUTBOUND_BYTES,
  MAX_RECV_DATA_SEGMENT_BYTES,
  type PortalLimits,
  SHARED_READ_BYTES,
} from './limits.ts';
import type { CompletedLogin, DiscoveryGranted, LoginEffect, LoginEvent } from './login-events.ts';
import { initialLogin, type LoginState, stepLogin } from './login-machine.ts';
import { decodeLogin, encodeLoginResponse } from './login-pdu.ts';
import { loginStatus } from './login-status.ts';
import type { BudgetShare } from './memory-budget.ts';
import { opcode, rejectReason } from './opcode.ts';
import { Outbox } from './outbox.ts';
import type { KeptSocket, LoginDecision } from './ports.ts';
import type { Session, SessionTransport } from './session.ts';
import { SocketSink } from './socket-sink.ts';

/**
 * One TCP connection: cuts its bytes into PDUs, runs the login, then feeds the session. Executes what the
 * login machine and the session decide, and holds back the initiator when too much is on its way to it.
 */
export class Connection implements SessionTransport {
  readonly remote: string;
  readonly sourceAddress: string;
  /** "ADDRESS:PORT" that it came to. */
  readonly localAddress: string;
  readonly #socket: Socket;
  readonly #host: ConnectionHost<Connection>;
  readonly #framer = new Framer(LOGIN_DATA_SEGMENT_BYTES);
  readonly #outbox: Outbox;
  readonly #share: BudgetShare;
  #login: LoginState | undefined;
  #session: Session | undefined;
  #kept: KeptSocket | undefined;
  /** Target asked for at login, granted or not. */
  #targetName: string | undefined;
  #lastHeardMs: number;
  /** When the initiator last took something, or had nothing to take. */
  #lastTakenMs: number;
  #pingedMs: number | undefined;
  /** Of those in the bytes that are looked through. */
  #pduCount = 0;
  #paused = false;
  #ended = false;
  /** Since when its target has been elsewhere: it is neither answered nor closed. */
  #movedMs: number | undefined;

  readonly #release = (): void => {
    this.#outbox.release();
    if (this.#pduCount === 1) this.#host.polling?.served(this, this.#lastHeardMs);
  };

  /** @param isRead whoever made the socket calls received() with what it reads */
  constructor(socket: Socket, host: ConnectionHost<Connection>, isRead = false) {
    this.#socket = socket;
    this.#host = host;
    this.#login = { ...initialLogin, queueDepth: host.queueDepth };
    this.sourceAddress = socket.remoteAddress ?? '?';
    this.remote = `${this.sourceAddress}:${socket.remotePort ?? 0}`;
    this.localAddress = `${socket.localAddress ?? '?'}:${socket.localPort ?? 0}`;
    this.#lastHeardMs = host.clock.monotonicMs();
    this.#lastTakenMs = this.#lastHeardMs;
    this.#share = host.budget.join(() => setImmediate(() => this.#resume()));
    this.#outbox = new Outbox(
      new SocketSink(socket),
      (flush) => setImmediate(flush),
      () => this.#onWritten(),
    );
    if (!isRead) socket.on('data', (chunk: Buffer) => this.received(chunk));
    socket.on('error', (error) => this.#host.counters.add(`iscsi.socket.${errorCode(error).toLowerCase()}`));
    socket.on('close', () => this.#onClose());
  }

  get session(): Session | undefined {
    return this.#session;
  }

  get targetName(): string | undefined {
    return this.#targetName;
  }

  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  header(): Buffer {
    return this.#outbox.header();
  }

  send(header: Buffer, data: readonly Uint8Array[], dataLengthBytes: number, taken?: () => void): void {
    if (!this.#ended && this.#movedMs === undefined) this.#outbox.send(header, data, dataLengthBytes, taken);
  }

  end(): void {
    if (this.#ended) return;
    this.#outbox.flush();
    this.#ended = true;
    // A peer that never closes its side must not keep ours open.
    this.#socket.destroySoon();
  }

  /** Resets the connection, so that the initiator sees at once that it is gone. */
  destroy(reason: string): void {
    if (!this.#socket.destroyed) {
      this.#host.counters.add(`iscsi.connection.dropped.${reason}`);
      this.#host.logger.debug('iscsi.connection.dropped', { remote: this.remote, reason });
    }
    this.#ended = true;
    this.#kept?.abort();
    // A reset is refused while the end of our side is on its way, and would then leave the socket open for ever.
    if (this.#socket.writableEnded) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  /**
   * Tells the initiator that the connection is about to be dropped, by this node's will, before it is. At once, since its
   * address may be gone with the next turn of the event loop; no answer is due, and none is waited for.
   */
  announceDrop(): void {
    const header = this.#ended ? undefined : this.#session?.dropAnnouncement();
    if (header === undefined) return;
    this.#host.counters.add('iscsi.connection.drop-announced');
    this.#outbox.send(header, [], 0);
    this.#outbox.flush();
  }

  get hasMoved(): boolean {
    return this.#movedMs !== undefined;
  }

  notServing(): void {
    if (this.#targetName === undefined || !this.#host.hasMoved(this.#targetName)) {
      this.destroy('not-serving');
    } else if (this.#movedMs === undefined && !this.#ended) {
      this.#movedMs = this.#host.clock.monotonicMs();
      this.#pause();
    }
  }

  /** Asks a silent initiator for a sign of life, and gives up one that is gone or stalls. */
  checkAlive(nowMs: number, limits: PortalLimits): void {
    const session = this.#session;
    if (session === undefined || this.#ended) return;
    if (this.#movedMs !== undefined) {
      if (nowMs - this.#movedMs >= limits.movedTimeoutMs) this.destroy('moved');
      return;
    }
    if (this.#outbox.queuedBytes === 0) this.#lastTakenMs = nowMs;
    const silentMs = nowMs - this.#lastHeardMs;
    if (nowMs - this.#lastTakenMs >= limits.stallTimeoutMs) this.destroy('answers-not-taken');
    // What was not read from the socket cannot be held against the initiator.
    else if (this.#paused || silentMs < limits.nopIdleMs) return;
    else if (silentMs >= limits.stallTimeoutMs && (session.awaitsData || this.#framer.bufferedBytes > 0)) {
      this.destroy('data-not-sent');
    } else if (session.answersNopIn) this.#checkPing(session, nowMs, limits.nopTimeoutMs);
    else if (silentMs >= limits.staleIdleMs) this.destroy('stale');
  }

  #checkPing(session: Session, nowMs: number, timeoutMs: number): void {
    if (this.#pingedMs === undefined) {
      this.#pingedMs = nowMs;
      session.ping();
    } else if (nowMs - this.#pingedMs >= timeoutMs) {
      this.destroy('nop-timeout');
    }
  }

  /** Bytes from the initiator; whoever calls may use their memory again once this returns. */
  received(bytes: Uint8Array): void {
    this.#lastHeardMs = this.#host.clock.monotonicMs();
    this.#pingedMs = undefined;
    // Where the memory was filled there is more to read in this turn, and what that gives is answered together.
    const isAll = bytes.length < SHARED_READ_BYTES;
    if (isAll) this.#outbox.hold();
    this.#framer.push(bytes);
    this.#pduCount = 0;
    this.#pump();
    this.#framer.keepRest(this.#host.budget.dataMemory);
    if (!isAll) return;
    // Behind those who wait for their own end of the call: what can be answered at once has been by then.
    if (this.#session?.hasTasks === true) queueMicrotask(this.#release);
    else this.#release();
  }

  /** Takes PDUs as long as there are whole ones and nothing holds the connection back. */
  #pump(): void {
    try {
      while (!this.#ended && this.#movedMs === undefined) {
        const session = this.#session;
        if (session === undefined) {
          if (!this.#pumpLogin()) return;
          continue;
        }
        const outboundBytes = this.#outbox.queuedBytes + session.readingBytes;
        const heldBytes = outboundBytes + session.receivedBytes + this.#framer.bufferedBytes;
        const mayTake =
          outboundBytes <= MAX_OUTBOUND_BYTES &&
          this.#share.mayTake(heldBytes, () => this.#hasToFinish(session));
        if (!mayTake) {
          this.#pause();
          return;
        }
        const frame = this.#framer.next();
        if (frame === undefined) return;
        this.#pduCount++;
        session.receive(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#onBrokenStream(error);
    }
  }

  /** Whether only more data from the initiator can free what is held: of a write, or of a PDU that has come in part. */
  #hasToFinish(session: Session): boolean {
    return session.awaitsData || this.#framer.bufferedBytes > this.#host.budget.floorBytes;
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#host.counters.add('iscsi.connection.paused');
    this.#socket.pause();
  }

  #onWritten(): void {
    this.#lastTakenMs = this.#host.clock.monotonicMs();
    if (this.#ended) return;
    const session = this.#session;
    const outboundBytes = this.#outbox.queuedBytes + (session?.readingBytes ?? 0);
    this.#share.update(outboundBytes + (session?.receivedBytes ?? 0) + this.#framer.bufferedBytes);
    // Not within what sends, which may be in the middle of an answer.
    if (this.#paused && outboundBytes <= MAX_OUTBOUND_BYTES / 2) setImmediate(() => this.#resume());
  }

  /** Goes on where it was held back; may be held back again at once. */
  #resume(): void {
    if (!this.#paused || this.#ended || this.#movedMs !== undefined) return;
    this.#paused = false;
    // Not a silence of the initiator's.
    this.#lastHeardMs = this.#host.clock.monotonicMs();
    this.#pump();
    // The cast tells the compiler that the pump may have changed it.
    if (!(this.#paused as boolean)) this.#socket.resume();
  }

  /** The framing is lost, or a digest was wrong: at error recovery level 0 that ends the session (§7.8). */
  #onBrokenStream(error: ProtocolError): void {
    this.#host.counters.add(`iscsi.stream.${error.code}`);
    this.#host.logger.warn('iscsi.stream.broken', { remote: this.remote, error: describeError(error) });
    if (this.#session === undefined) {
      this.destroy(error.code);
      return;
    }
    const reason = error.code === 'data-digest' ? rejectReason.dataDigestError : rejectReason.protocolError;
    // Of a header whose digest is wrong nothing is known, not even that it was one.
    if (error.code !== 'header-digest') this.#session.rejectFrame(reason, this.#framer.lastHeader());
    this.end();
  }

  /** @returns whether to go on at once; false when more bytes, or a decision, must come first */
  #pumpLogin(): boolean {
    const login = this.#login;
    if (login === undefined || (login.phase !== 'start' && login.phase !== 'negotiating')) return false;
    const frame = this.#framer.next();
    if (frame === undefined) return false;
    if (((frame.header[frame.at] as number) & 0x3f) === opcode.loginRequest) {
      this.#step({ kind: 'request', fields: decodeLogin(frame), text: Buffer.concat(frame.data) });
      return true;
    }
    // Who has not begun a login is not answered; who has is told what is wrong (§4.2.4).
    if (login.requestCount === 0) this.destroy('not-a-login');
    else this.#step({ kind: 'other-request' });
    return false;
  }

  #step(event: LoginEvent): void {
    if (this.#login === undefined || this.#ended) return;
    const { state, effects } = stepLogin(this.#login, event);
    this.#login = state;
    for (const effect of effects) this.#execute(effect);
  }

  #execute(effect: LoginEffect): void {
    switch (effect.kind) {
      case 'respond':
        this.#socket.write(encodeLoginResponse(effect.fields, effect.text));
        return;
      case 'ask-directory':
        this.#targetName = effect.targetName;
        void this.#askDirectory(effect).then((decision) => {
          const nonce = this.#host.random.bytes(CHAP_NONCE_BYTES);
          const { initiatorName, targetName, connection } = effect;
          const { tsih } = connection;
          const joined =
            tsih === 0 ? {} : { joined: this.#host.joined({ initiatorName, targetName, ...connection }) };
          this.#step({ kind: 'decided', decision, nonce, ...joined });
          this.#pump();
        });
        return;
      case 'establish':
        void this.#establish(effect.login);
        return;
      case 'close':
        this.#host.counters.add(`iscsi.login.refused.${effect.status.toString(16).padStart(4, '0')}`);
        if (effect.status === loginStatus.authenticationFailure) {
          const initiatorName = this.#login?.initiatorName;
          this.#host.logger.warn('iscsi.login.not-authenticated', { initiatorName, remote: this.remote });
        }
        this.end();
    }
  }

  async #askDirectory(
    effect: Extract<LoginEffect, { kind: 'ask-directory' }>,
  ): Promise<LoginDecision | DiscoveryGranted> {
    const { initiatorName, targetName } = effect;
    const initiator = { initiatorName, sourceAddress: this.sourceAddress };
    if (targetName !== undefined) return this.#host.decide({ ...initiator, targetName });
    return this.#host.decideDiscovery(initiator, effect.discoveryTarget, this.localAddress);
  }

  async #establish(login: CompletedLogin): Promise<void> {
    const session = await this.#host.establish(this, login);
    if (typeof session === 'number') {
      this.#step({ kind: 'not-established', status: session });
      return;
    }
    if (this.#ended || this.#socket.destroyed) {
      await session.close();
      return;
    }
    this.#step({ kind: 'established', tsih: session.options.tsih });
    this.#login = undefined;
    this.#session = session;
    if (session.options.targetName !== undefined) this.#kept = this.#host.keep(this.#socket);
    const { parameters } = session.options;
    this.#framer.maxDataSegmentBytes = MAX_RECV_DATA_SEGMENT_BYTES;
    this.#framer.headerDigest = parameters.headerDigest;
    this.#framer.dataDigest = parameters.dataDigest;
    this.#outbox.headerDigest = parameters.headerDigest;
    this.#outbox.dataDigest = parameters.dataDigest;
    this.#pump();
  }

  #onClose(): void {
    this.#ended = true;
    this.#kept?.release();
    this.#share.leave();
    void this.#session?.close();
    this.#host.closed(this);
  }
}
