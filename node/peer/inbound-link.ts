import type { TLSSocket } from 'node:tls';
import type { CancelTimer } from '../../base/clock.ts';
import { ProtocolError } from '../../base/errors.ts';
import type { LentMemory, PeerIdentity } from '../../base/peer-transport.ts';
import { SlabMemory } from '../../base/slab-memory.ts';
import { refusalOf, UNKNOWN_NODE } from './admission.ts';
import { encodeFrame, type Frame, FrameDecoder, FrameType } from './frame-codec.ts';
import { readInto } from './given-memory.ts';
import { decodeHello, encodeHello, encodeRefusal, type Refusal } from './hello-codec.ts';
import {
  BODY_SLAB_BYTES,
  HANDSHAKE_TIMEOUT_MS,
  LINK_DEAD_AFTER_MS,
  MAX_FREE_BODY_SLABS,
  MAX_HELLO_BYTES,
  MAX_MESSAGE_BYTES,
  RECEIVE_TURN_BYTES,
  REFUSAL_LINGER_MS,
  TLS_RECORD_BYTES,
} from './limits.ts';
import { certifiedIdentity, type LinkContext } from './link-context.ts';

/** A connection that a peer has dialled and sends on. Answers with a hello and with pongs only. */
export class InboundLink {
  readonly #socket: TLSSocket;
  readonly #context: LinkContext;
  readonly #onHello: (link: InboundLink, peer: PeerIdentity) => void;
  readonly #memory: SlabMemory | undefined;
  readonly #decoder: FrameDecoder;
  #identity: PeerIdentity | undefined;
  #worker = 0;
  #cancelTimer: CancelTimer;
  #lastReceivedMs: number;
  #closing = false;
  #sinceTurnBytes = 0;

  constructor(
    socket: TLSSocket,
    context: LinkContext,
    onHello: (link: InboundLink, peer: PeerIdentity) => void,
    onClose: (link: InboundLink) => void,
  ) {
    this.#socket = socket;
    this.#context = context;
    this.#onHello = onHello;
    if (context.lendsMemory) this.#memory = new SlabMemory(BODY_SLAB_BYTES, MAX_FREE_BODY_SLABS);
    this.#decoder = new FrameDecoder(MAX_HELLO_BYTES, this.#memory);
    this.#lastReceivedMs = context.clock.monotonicMs();
    this.#cancelTimer = context.timers.setTimer(HANDSHAKE_TIMEOUT_MS, () => this.close());
    socket.setNoDelay(true);
    if (context.lendsMemory) this.#readIntoOneBuffer();
    // Also where that is so: for what may have come before.
    socket.on('data', (chunk: Uint8Array) => {
      if (!this.#data(chunk)) socket.pause();
    });
    socket.on('error', () => context.counters.add('peer.inbound.error'));
    socket.once('close', () => {
      this.#closing = true;
      this.#cancelTimer();
      onClose(this);
    });
  }

  get identity(): PeerIdentity | undefined {
    return this.#identity;
  }

  /** Of the peer's; see Hello. */
  get worker(): number {
    return this.#worker;
  }

  get lastReceivedMs(): number {
    return this.#lastReceivedMs;
  }

  close(): void {
    this.#closing = true;
    this.#socket.destroy();
  }

  #readIntoOneBuffer(): void {
    const buffer = new Uint8Array(TLS_RECORD_BYTES);
    const onRead = (lengthBytes: number): boolean => this.#data(buffer.subarray(0, lengthBytes));
    this.#decoder.chunksAreLent = readInto(this.#socket, buffer, onRead);
  }

  /** @returns false: what else has come is looked at in the next turn of the loop */
  #data(chunk: Uint8Array): boolean {
    this.#lastReceivedMs = this.#context.clock.monotonicMs();
    this.#sinceTurnBytes += chunk.length;
    try {
      if (!this.#decoder.goesOn(chunk)) this.#receiveAll(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuse({ code: error.code, message: error.message });
    }
    if (this.#sinceTurnBytes < RECEIVE_TURN_BYTES) return true;
    this.#sinceTurnBytes = 0;
    setImmediate(() => this.#socket.resume());
    return false;
  }

  #receiveAll(chunk: Uint8Array): void {
    for (const frame of this.#decoder.push(chunk)) {
      if (this.#closing) return;
      this.#receive(frame);
    }
  }

  #receive(frame: Frame): void {
    if (this.#identity === undefined) {
      this.#receiveHello(frame);
    } else if (frame.type === FrameType.message) {
      this.#context.counters.add('peer.received');
      this.#context.deliver(this.#identity, frame.body, this.#lent(frame));
    } else if (frame.type === FrameType.ping) {
      this.#socket.write(encodeFrame(FrameType.pong));
    } else if (frame.type === FrameType.refusal) {
      this.close();
    } else {
      throw new ProtocolError(`a frame of type ${frame.type} is out of place`, {
        code: 'unexpected-frame',
        got: frame.type,
      });
    }
  }

  #lent({ slab }: Frame): LentMemory | undefined {
    const memory = this.#memory;
    return slab === undefined || memory === undefined ? undefined : { giveBack: () => memory.giveBack(slab) };
  }

  #receiveHello(frame: Frame): void {
    if (frame.type !== FrameType.hello) {
      throw new ProtocolError(`a frame of type ${frame.type} comes before the hello`, {
        code: 'unexpected-frame',
        got: frame.type,
      });
    }
    const { hello } = decodeHello(frame.body, this.#context.protocol);
    const { self, protocol, peerIds, removedIds, connected } = this.#context;
    const refusal = refusalOf(hello, certifiedIdentity(this.#socket), {
      self,
      peerIds: peerIds(),
      removedIds: removedIds(),
      connected: connected(hello.nodeId),
    });
    if (refusal !== undefined) {
      if (refusal.code === UNKNOWN_NODE) this.#context.metStranger(hello.nodeId);
      this.#refuse(refusal, hello.nodeId);
      return;
    }
    this.#identity = { nodeId: hello.nodeId, incarnation: hello.incarnation };
    this.#worker = hello.worker ?? 0;
    this.#context.greeted(hello);
    this.#decoder.maxBodyBytes = MAX_MESSAGE_BYTES;
    this.#socket.write(encodeFrame(FrameType.hello, encodeHello(self, protocol)));
    this.#watchSilence();
    this.#onHello(this, this.#identity);
  }

  /** The dialling side pings, so silence means that it or the way to it is gone. */
  #watchSilence(): void {
    const { timers, clock } = this.#context;
    this.#cancelTimer();
    this.#cancelTimer = timers.setTimer(LINK_DEAD_AFTER_MS, () => {
      if (clock.monotonicMs() - this.#lastReceivedMs >= LINK_DEAD_AFTER_MS) this.close();
      else this.#watchSilence();
    });
  }

  #refuse(refusal: Refusal, claimedId = this.#identity?.nodeId ?? 'unknown'): void {
    this.#closing = true;
    this.#context.counters.add('peer.inbound.refused');
    this.#context.complaints.once(claimedId, 'peer.inbound.refused', {
      peer: claimedId,
      address: `${this.#socket.remoteAddress}:${this.#socket.remotePort}`,
      ...refusal,
    });
    this.#socket.end(encodeFrame(FrameType.refusal, encodeRefusal(refusal)));
    this.#context.timers.setTimer(REFUSAL_LINGER_MS, () => this.#socket.destroy());
  }
}
