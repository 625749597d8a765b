import type { CancelTimer, Timers } from '../../base/clock.ts';
import { describeError, ProtocolError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { MessageHandler, PeerIdentity, PeerTransport } from '../../base/peer-transport.ts';
import { checkCondition, type ScsiOutcome } from '../scsi/prepared-command.ts';
import { sense } from '../scsi/sense.ts';
import { MAX_REMOTE_COMMANDS, REMOTE_COMMAND_TIMEOUT_MS } from './limits.ts';
import {
  decodeRemoteMessage,
  encodeRemoteMessage,
  REMOTE_MESSAGE,
  type RemoteCommand,
  type RemoteMessage,
  type RemoteOutcome,
} from './remote-command.ts';

export interface CommandChannelOptions {
  readonly transport: PeerTransport;
  /** By which of the transport's links that node's part of a group is reached. */
  readonly linkTo: (groupId: string, nodeId: string) => string;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly counters: { add(name: string, by?: number): void };
  /** Carries out what another node passes on. Never rejects. */
  readonly carryOut: (command: RemoteCommand) => Promise<RemoteOutcome>;
}

interface Waiting {
  readonly nodeId: string;
  readonly link: string;
  readonly cancel: CancelTimer;
  readonly end: (outcome: RemoteOutcome) => void;
}

/** Nothing was done; the initiator tries again in a moment (SPC-4 §5.15.2.7). */
const inTransition = checkCondition(sense.stateTransition);

/**
 * SCSI commands between the nodes of a portal group, over the links that replication has. Replication gets a transport of
 * its own from here, which shows it nothing of that.
 */
export class CommandChannel {
  readonly #options: CommandChannelOptions;
  readonly #waiting = new Map<number, Waiting>();
  /** Commands of other nodes that are being carried out. */
  #underWay = 0;
  #nextId = 1;
  #onOther: MessageHandler = () => {};
  #onLinkChange: (peer: PeerIdentity, up: boolean, link: string) => void = () => {};

  constructor(options: CommandChannelOptions) {
    this.#options = options;
    options.transport.onMessage((from, message, lent) => {
      if (message[0] === REMOTE_MESSAGE) this.#receive(from, message);
      else this.#onOther(from, message, lent);
    });
    options.transport.onLinkChange((peer, up, link = peer.nodeId) => {
      if (!up) this.#linkLost(link);
      this.#onLinkChange(peer, up, link);
    });
  }

  /** The same links, for everything else. */
  transport(): PeerTransport {
    const { transport } = this.#options;
    return {
      send: (link, parts) => transport.send(link, parts),
      queuedBytes: (link) => transport.queuedBytes(link),
      isUp: (link) => transport.isUp(link),
      isAbsent: (link) => transport.isAbsent(link),
      onMessage: (handler) => {
        this.#onOther = handler;
      },
      onLinkChange: (handler) => {
        this.#onLinkChange = handler;
      },
    };
  }

  /**
   * Has a command carried out by another node. Where nothing was sent, or that node is not the one to ask, it ends in
   * transition; where nobody knows what became of it, not serving, so that its session ends unanswered.
   */
  async forward(nodeId: string | undefined, command: RemoteCommand): Promise<ScsiOutcome> {
    const { transport, linkTo, timers, counters } = this.#options;
    if (nodeId === undefined || this.#waiting.size >= MAX_REMOTE_COMMANDS) return inTransition;
    const id = this.#nextId++;
    const link = linkTo(command.groupId, nodeId);
    if (!transport.send(link, [encodeRemoteMessage({ kind: 'command', id, command })])) return inTransition;
    counters.add('portal.command.forwarded');
    const outcome = await new Promise<RemoteOutcome>((end) => {
      const cancel = timers.setTimer(REMOTE_COMMAND_TIMEOUT_MS, () => this.#end(id, { kind: 'not-serving' }));
      this.#waiting.set(id, { nodeId, link, cancel, end });
    });
    return outcome.kind === 'not-here' ? inTransition : outcome;
  }

  #end(id: number, outcome: RemoteOutcome): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    waiting.cancel();
    waiting.end(outcome);
  }

  #linkLost(link: string): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.link === link) this.#end(id, { kind: 'not-serving' });
    }
  }

  #receive(from: PeerIdentity, bytes: Uint8Array): void {
    let message: RemoteMessage;
    try {
      message = decodeRemoteMessage(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#options.counters.add('portal.command.malformed');
      this.#options.logger.warn('portal.command.malformed', {
        from: from.nodeId,
        error: describeError(error),
      });
      return;
    }
    // An answer is taken from whom it was asked of, and from nobody else.
    if (message.kind === 'command') void this.#serve(from.nodeId, message.id, message.command);
    else if (this.#waiting.get(message.id)?.nodeId === from.nodeId) this.#end(message.id, message.outcome);
  }

  async #serve(nodeId: string, id: number, command: RemoteCommand): Promise<void> {
    const { transport, linkTo, carryOut, counters } = this.#options;
    let outcome: RemoteOutcome = { kind: 'not-here' };
    if (this.#underWay < MAX_REMOTE_COMMANDS) {
      this.#underWay++;
      try {
        outcome = await carryOut(command);
      } finally {
        this.#underWay--;
      }
    }
    counters.add('portal.command.carried-out');
    // Where it cannot be sent the other end has lost the link, and knows.
    const link = linkTo(command.groupId, nodeId);
    transport.send(link, [encodeRemoteMessage({ kind: 'outcome', id, outcome })]);
  }
}
