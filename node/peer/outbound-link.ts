import { connect, type TLSSocket } from 'node:tls';
import type { CancelTimer } from '../../base/clock.ts';
import { describeError, errorCode, ProtocolError } from '../../base/errors.ts';
import type { PeerIdentity } from '../../base/peer-transport.ts';
import { whenStepEnds } from '../../base/step.ts';
import { FOREIGN_CERTIFICATE, NODE_REMOVED, refusalOf } from './admission.ts';
import { encodeFrame, encodeFrameHeader, type Frame, FrameDecoder, FrameType } from './frame-codec.ts';
import { decodeHello, decodeRefusal, encodeHello, encodeRefusal, type Refusal } from './hello-codec.ts';
import {
  AT_ONCE_BYTES,
  HANDSHAKE_TIMEOUT_MS,
  LINK_DEAD_AFTER_MS,
  MAX_HELLO_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_QUEUED_BYTES,
  PING_INTERVAL_MS,
  RECONNECT_MAX_MS,
  RECONNECT_MIN_MS,
  REFUSAL_LINGER_MS,
} from './limits.ts';
import { certifiedIdentity, type LinkContext } from './link-context.ts';
import { SendStage } from './send-stage.ts';

export interface PeerAddress {
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
  /** Which of its data-plane workers is there; absent: the first, or none of them. */
  readonly worker?: number;
}

/** What the link to a worker of a node is called: as the node, where it is the first. */
export function linkName({
  nodeId,
  worker = 0,
}: {
  readonly nodeId: string;
  readonly worker?: number;
}): string {
  // No node's name has a "/".
  return worker === 0 ? nodeId : `${nodeId}/${worker}`;
}

/** The connection this node dials to one peer and sends on. Dials again for ever, until stopped. */
export class OutboundLink {
  readonly peer: PeerAddress;
  readonly #context: LinkContext;
  readonly #onChange: (peer: PeerIdentity, up: boolean) => void;
  #socket: TLSSocket | undefined;
  /** Of that socket. */
  #stage: SendStage | undefined;
  /** Known once the peer has said hello. */
  #identity: PeerIdentity | undefined;
  #version = 0;
  #cancelHandshake: CancelTimer = () => {};
  #cancelPing: CancelTimer = () => {};
  #cancelRedial: CancelTimer = () => {};
  #failures = 0;
  #isAbsent = false;
  #lastMovedMs = 0;
  #isStaging = false;
  #stopped = false;

  constructor(peer: PeerAddress, context: LinkContext, onChange: (peer: PeerIdentity, up: boolean) => void) {
    this.peer = peer;
    this.#context = context;
    this.#onChange = onChange;
  }

  get identity(): PeerIdentity | undefined {
    return this.#identity;
  }

  /** The last dial was refused by the peer's host, since nothing listens there. */
  get isAbsent(): boolean {
    return this.#isAbsent;
  }

  /** The version of the protocol that is spoken; undefined before the peer has said hello. */
  get protocolVersion(): number | undefined {
    return this.#identity === undefined ? undefined : this.#version;
  }

  get queuedBytes(): number {
    return this.#identity === undefined ? 0 : (this.#stage?.queuedBytes ?? 0);
  }

  start(): void {
    this.#dial();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelRedial();
    this.#socket?.destroy();
  }

  /** The peer has just dialled us: if we wait to dial, now is the time; what we had to another one is dead. */
  met(incarnation: string): void {
    if (this.#stopped) return;
    if (this.#identity !== undefined && this.#identity.incarnation !== incarnation) {
      this.#socket?.destroy();
    } else if (this.#socket === undefined) {
      this.#cancelRedial();
      this.#dial();
    }
  }

  /** Copies the parts. @returns false when the message was dropped */
  send(parts: readonly Uint8Array[]): boolean {
    const stage = this.#stage;
    if (this.#identity === undefined || stage === undefined || this.#socket?.writable !== true) return false;
    let lengthBytes = 0;
    for (const part of parts) lengthBytes += part.length;
    const queued = stage.queuedBytes;
    const tooMuch = queued > 0 && queued + lengthBytes > MAX_QUEUED_BYTES;
    if (lengthBytes > MAX_MESSAGE_BYTES || tooMuch) {
      this.#context.counters.add('peer.dropped.full');
      return false;
    }
    stage.add(encodeFrameHeader(FrameType.message, lengthBytes));
    for (const part of parts) stage.add(part);
    // There are few writes to be saved by waiting for more.
    if (lengthBytes >= AT_ONCE_BYTES && this.#socket.writableLength === 0) stage.flush();
    else this.#flushAfterThisStep();
    this.#context.counters.add('peer.sent');
    return true;
  }

  /**
   * All messages of one step of the sender leave as one write, right after that step, unless a long one takes them
   * along: other work that it has begun (such as a write to its own disk) is not to hold them up.
   */
  #flushAfterThisStep(): void {
    if (this.#isStaging) return;
    this.#isStaging = true;
    whenStepEnds(() => {
      this.#isStaging = false;
      if (this.#socket?.writable === true) this.#stage?.flush();
    });
  }

  readonly #moved = (): void => {
    this.#lastMovedMs = this.#context.clock.monotonicMs();
  };

  #dial(): void {
    const { credentials, timers, counters } = this.#context;
    counters.add('peer.dialled');
    const socket = connect({
      host: this.peer.host,
      port: this.peer.port,
      ...credentials,
      minVersion: 'TLSv1.3',
      // Checked below, before anything is said, so that both sides can tell what was wrong.
      rejectUnauthorized: false,
      // The name to check is the node id in the certificate, which #welcome does; addresses may change.
      checkServerIdentity: () => undefined,
    });
    this.#socket = socket;
    this.#stage = new SendStage(socket, this.#moved);
    socket.setNoDelay(true);
    this.#cancelHandshake = timers.setTimer(HANDSHAKE_TIMEOUT_MS, () => {
      socket.destroy(new Error(`no hello within ${HANDSHAKE_TIMEOUT_MS} ms`));
    });
    const decoder = new FrameDecoder(MAX_HELLO_BYTES);
    socket.once('connect', () => {
      this.#isAbsent = false;
    });
    socket.once('secureConnect', () => {
      if (socket.authorized)
        socket.write(encodeFrame(FrameType.hello, encodeHello(this.#context.self, this.#context.protocol)));
      else this.#refuse(socket, { code: 'foreign-certificate', message: FOREIGN_CERTIFICATE });
    });
    socket.on('data', (chunk: Uint8Array) => {
      // Refused already; what follows is of no interest.
      if (!socket.writable) return;
      this.#moved();
      try {
        for (const frame of decoder.push(chunk)) this.#receive(socket, frame);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.#refuse(socket, { code: error.code, message: error.message });
      }
    });
    socket.on('error', (error) => {
      this.#isAbsent = errorCode(error) === 'ECONNREFUSED';
      this.#complain('peer.link.failed', errorCode(error), describeError(error));
    });
    socket.once('close', () => this.#closed());
  }

  #receive(socket: TLSSocket, frame: Frame): void {
    if (frame.type === FrameType.hello && this.#identity === undefined) {
      const { hello, version } = decodeHello(frame.body, this.#context.protocol);
      const { self, peerIds, removedIds } = this.#context;
      const refusal = refusalOf(hello, certifiedIdentity(socket), {
        self,
        peerIds: peerIds(),
        removedIds: removedIds(),
        dialled: { nodeId: this.peer.nodeId, worker: this.peer.worker ?? 0 },
      });
      if (refusal !== undefined) {
        this.#refuse(socket, refusal);
        return;
      }
      this.#context.greeted(hello);
      this.#welcome(socket, { nodeId: hello.nodeId, incarnation: hello.incarnation }, version);
    } else if (frame.type === FrameType.refusal) {
      const { code, message } = decodeRefusal(frame.body);
      this.#complain('peer.link.refused', code, message);
      // Nobody but a member can say so: the certificate was checked before anything was sent.
      if (code === NODE_REMOVED && socket.authorized) this.#context.toldRemoved();
      socket.destroy();
    } else if (frame.type !== FrameType.pong) {
      throw new ProtocolError(`a frame of type ${frame.type} is out of place`, {
        code: 'unexpected-frame',
        got: frame.type,
      });
    }
  }

  #welcome(socket: TLSSocket, identity: PeerIdentity, version: number): void {
    this.#version = version;
    this.#cancelHandshake();
    this.#failures = 0;
    this.#identity = identity;
    this.#context.complaints.mended(linkName(this.peer));
    this.#context.counters.add('peer.up');
    this.#moved();
    this.#schedulePing(socket);
    this.#onChange(identity, true);
  }

  #schedulePing(socket: TLSSocket): void {
    const { timers, clock } = this.#context;
    this.#cancelPing = timers.setTimer(PING_INTERVAL_MS, () => {
      if (clock.monotonicMs() - this.#lastMovedMs > LINK_DEAD_AFTER_MS) {
        socket.destroy(new Error(`nothing has moved for ${LINK_DEAD_AFTER_MS} ms`));
        return;
      }
      // One unanswered ping is enough to wait for; more would only fill the queue of a dead link.
      if (socket.writableLength === 0) socket.write(encodeFrame(FrameType.ping));
      this.#schedulePing(socket);
    });
  }

  #refuse(socket: TLSSocket, refusal: Refusal): void {
    this.#complain('peer.link.refusing', refusal.code, refusal.message);
    socket.end(encodeFrame(FrameType.refusal, encodeRefusal(refusal)));
    this.#context.timers.setTimer(REFUSAL_LINGER_MS, () => socket.destroy());
  }

  #complain(event: string, code: string, message: string): void {
    if (this.#stopped) return;
    const { nodeId, host, port } = this.peer;
    this.#context.counters.add(event);
    this.#context.complaints.once(linkName(this.peer), event, {
      peer: nodeId,
      address: `${host}:${port}`,
      code,
      message,
    });
  }

  #closed(): void {
    this.#cancelHandshake();
    this.#cancelPing();
    const lost = this.#identity;
    this.#identity = undefined;
    this.#socket = undefined;
    this.#stage = undefined;
    if (!this.#stopped) {
      const { random, timers } = this.#context;
      const backoffMs = Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(this.#failures, 10));
      this.#failures += 1;
      // Half of it at random, so that nodes that failed together do not dial together.
      const delayMs = backoffMs / 2 + random.below(Math.ceil(backoffMs / 2) + 1);
      this.#cancelRedial = timers.setTimer(delayMs, () => this.#dial());
    }
    if (lost !== undefined) this.#onChange(lost, false);
  }
}
