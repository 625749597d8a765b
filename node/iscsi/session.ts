import type { Counters } from '../../base/counters.ts';
import { ProtocolError } from '../../base/errors.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { Sense } from '../scsi/sense.ts';
import { CommandWindow } from './command-window.ts';
import type { DataMemory } from './data-memory.ts';
import { answerTextRequest } from './discovery.ts';
import { headerOf, ownFrame, type PduFrame } from './framer.ts';
import { MAX_DATA_AHEAD_BYTES, MAX_TEXT_BYTES, QUEUE_DEPTH } from './limits.ts';
import type { SessionParameters } from './login-keys.ts';
import { opcode, RESERVED_TAG, rejectReason } from './opcode.ts';
import * as pdu from './pdu.ts';
import type { TargetListing } from './ports.ts';
import { type PduSink, Responder } from './responder.ts';
import { planTaskManagement, taskResponse } from './task-management.ts';
import { type ManagedSession, manageTasks } from './task-manager.ts';
import { TaskSet, type Traffic } from './task-set.ts';
import { decodeTextKeys } from './text-keys.ts';

/** The connection a session lives on. */
export interface SessionTransport extends PduSink {
  /** Closes once everything sent so far has left. */
  end(): void;
  /** Closes at once; what has not left is lost. */
  destroy(reason: string): void;
  /** The device is served here no longer: nothing more may be answered. */
  notServing(): void;
}

export interface SessionOptions {
  readonly initiatorName: string;
  /** undefined in a discovery session. */
  readonly targetName: string | undefined;
  /** The target that the login of a discovery session named, if it did. */
  readonly discoveryTarget: string | undefined;
  /** Hexadecimal. */
  readonly isid: string;
  readonly tsih: number;
  readonly cid: number;
  readonly parameters: SessionParameters;
  readonly firstCmdSN: number;
  readonly firstStatSN: number;
  readonly units: ReadonlyMap<number, LogicalUnit>;
  readonly transport: SessionTransport;
  readonly counters: Counters;
  /** For data of commands, shared with other sessions. */
  readonly memory: DataMemory;
  /** What the initiator may see, for SendTargets. */
  readonly listTargets: () => readonly TargetListing[];
  /** Sessions of the same target, this one among them. */
  readonly sessionsOfTarget: () => Iterable<Session>;
}

const COMMAND_SN_OFFSET = 24;
const logoutReason = { closeSession: 0, closeConnection: 1, removeForRecovery: 2 } as const;
const logoutAnswer = { closed: 0, cidNotFound: 1, recoveryNotSupported: 2 } as const;

/**
 * A session in full feature phase (RFC 7143 §4.3, §4.4): one connection, error recovery level 0. Takes PDUs in
 * the order they arrive, acts on commands in the order of their CmdSN, answers through the transport.
 */
export class Session {
  readonly options: SessionOptions;
  readonly #window: CommandWindow;
  readonly #responder: Responder;
  readonly #tasks: TaskSet;
  readonly #managed: ManagedSession;
  /** Commands ahead of a gap in CmdSN; as many as the window is wide. */
  readonly #held = new Map<number, PduFrame>();
  #aheadBytes = 0;
  #sawNopOut = false;
  #nextPingTag = 0;
  #pendingText: { readonly tag: number; rest: Uint8Array } | undefined;
  #textRequest: Uint8Array = new Uint8Array();
  #closing: Promise<void> | undefined;
  #ended = false;

  constructor(options: SessionOptions) {
    this.options = options;
    this.#window = new CommandWindow(options.firstCmdSN, QUEUE_DEPTH);
    const { transport, parameters } = options;
    this.#responder = new Responder(transport, this.#window, parameters, options.firstStatSN);
    this.#tasks = new TaskSet({
      units: options.units,
      parameters,
      window: this.#window,
      responder: this.#responder,
      counters: options.counters,
      memory: options.memory,
      onNotServing: () => transport.notServing(),
    });
    this.#managed = {
      units: options.units,
      tasks: this.#tasks,
      endTasks: (attention, lun) => this.endTasks(attention, lun),
      others: () => [...options.sessionsOfTarget()].filter((session) => session !== this),
      skip: (refCmdSN) => this.#skip(refCmdSN),
    };
  }

  get traffic(): Traffic {
    return this.#tasks.traffic;
  }

  /** Data asked of devices for reads and not yet given to the transport. */
  get readingBytes(): number {
    return this.#tasks.readingBytes;
  }

  /** Data of writes that has come, or was asked for, and has not left the device's hands. */
  get receivedBytes(): number {
    return this.#tasks.receivedBytes;
  }

  /** Whether the initiator has yet to send data of a write. */
  get awaitsData(): boolean {
    return this.#tasks.awaitsData;
  }

  /** Whether any SCSI command has not been answered. */
  get hasTasks(): boolean {
    return this.#tasks.size > 0;
  }

  /** Closed, and nothing of it left in any device. */
  get ended(): boolean {
    return this.#ended;
  }

  /** CmdSN of the next command, and of the last that may come. */
  get commandNumbers(): { readonly expCmdSN: number; readonly maxCmdSN: number } {
    return { expCmdSN: this.#window.expCmdSN, maxCmdSN: this.#window.maxCmdSN };
  }

  /** Nothing is answered any more. */
  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Whether the initiator can be trusted to answer a NOP-In; iPXE never does. */
  get answersNopIn(): boolean {
    return this.#sawNopOut || this.options.parameters.offeredImmediateData;
  }

  ping(): void {
    this.#nextPingTag = (this.#nextPingTag + 1) % RESERVED_TAG;
    this.#responder.nopPing(this.#nextPingTag);
  }

  /** @returns the PDU that announces that the session is about to be dropped; undefined where it would do harm */
  dropAnnouncement(): Buffer | undefined {
    const isWelcome =
      this.#closing === undefined && this.answersNopIn && this.options.targetName !== undefined;
    return isWelcome ? this.#responder.dropAnnouncement() : undefined;
  }

  /** Tells the initiator why its stream is given up; the caller closes. */
  rejectFrame(reason: number, header: Uint8Array): void {
    this.#responder.reject(reason, header);
  }

  /** One PDU from the initiator. The bytes it lies in may change once this returns. */
  receive(frame: PduFrame): void {
    if (this.#closing !== undefined) return;
    const code = (frame.header[frame.at] as number) & 0x3f;
    if (code === opcode.dataOut) {
      this.#tasks.dataOut(frame);
      return;
    }
    if (!COMMANDS.has(code)) {
      this.#reject(
        code === opcode.snackRequest ? rejectReason.snackReject : rejectReason.commandNotSupported,
        frame,
      );
      return;
    }
    if (((frame.header[frame.at] as number) & 0x40) !== 0) {
      this.#deliver(code, frame, true);
      return;
    }
    const cmdSN = readU32(frame.header, frame.at + COMMAND_SN_OFFSET);
    switch (this.#window.arrive(cmdSN)) {
      case 'deliver':
        this.#deliver(code, frame, false);
        if (this.#held.size > 0) this.#deliverHeld();
        return;
      case 'hold':
        this.#held.set(cmdSN, ownFrame(frame));
        this.#aheadBytes += frame.dataLengthBytes;
        if (this.#aheadBytes > MAX_DATA_AHEAD_BYTES) this.options.transport.destroy('data-ahead-of-a-gap');
        return;
      case 'ignore':
        this.options.counters.add('iscsi.command.outside-window');
    }
  }

  #deliverHeld(): void {
    for (;;) {
      const cmdSN = this.#window.releaseHeld();
      if (cmdSN === undefined) return;
      const frame = this.#held.get(cmdSN) as PduFrame;
      this.#held.delete(cmdSN);
      this.#aheadBytes -= frame.dataLengthBytes;
      this.#deliver((frame.header[frame.at] as number) & 0x3f, frame, false);
    }
  }

  #deliver(code: number, frame: PduFrame, immediate: boolean): void {
    if (code === opcode.scsiCommand) {
      const reason =
        this.options.targetName === undefined ? rejectReason.protocolError : this.#tasks.command(frame);
      if (reason === undefined) return;
      if (!immediate) this.#window.answered();
      this.#reject(reason, frame);
      return;
    }
    // The rest is answered in one go, or holds no place in the window while it is not.
    if (!immediate) this.#window.answered();
    switch (code) {
      case opcode.nopOut:
        return this.#nopOut(frame);
      case opcode.taskManagementRequest:
        return this.#taskManagement(frame);
      case opcode.textRequest:
        return this.#text(frame);
      case opcode.logoutRequest:
        return this.#logout(frame);
      default:
        return this.#reject(rejectReason.protocolError, frame);
    }
  }

  #reject(reason: number, frame: PduFrame): void {
    this.options.counters.add(`iscsi.rejected.${reason}`);
    this.#responder.reject(reason, headerOf(frame));
  }

  #nopOut(frame: PduFrame): void {
    const fields = pdu.nopOut.decode(frame.header, frame.at);
    this.#sawNopOut = true;
    // An answer to our own ping.
    if (fields.initiatorTaskTag === RESERVED_TAG) return;
    this.#responder.nopReply(fields.initiatorTaskTag, Buffer.concat(frame.data));
  }

  #taskManagement(frame: PduFrame): void {
    const fields = pdu.taskManagementRequest.decode(frame.header, frame.at);
    if (this.options.targetName === undefined) {
      this.#reject(rejectReason.protocolError, frame);
      return;
    }
    this.options.counters.add(`iscsi.task-management.${fields.function}`);
    const plan = planTaskManagement(fields.function, this.options.parameters.protocolLevel);
    void manageTasks(plan, fields, this.#managed).then(({ response, information }) => {
      if (this.#closing !== undefined) return;
      this.#responder.taskManagement(fields.initiatorTaskTag, response, information);
      if (plan.kind === 'target' && plan.cold && response === taskResponse.complete) {
        for (const session of this.options.sessionsOfTarget()) session.options.transport.end();
      }
    });
  }

  /** A command that is yet to come counts as received, and is ignored when it does (§11.5.5). */
  #skip(refCmdSN: number): boolean {
    if (!this.#window.skip(refCmdSN)) return false;
    this.#deliverHeld();
    return true;
  }

  /** Ends tasks of one LUN or all, without responses, and tells the initiator by `attention` that it happened. */
  async endTasks(attention: Sense | undefined, lun?: number): Promise<void> {
    const ended = this.#tasks.abortAll(lun);
    for (const [number, unit] of this.options.units) {
      if (attention !== undefined && (lun === undefined || number === lun)) unit.raiseAttention(attention);
    }
    await ended;
  }

  #text(frame: PduFrame): void {
    const fields = pdu.textRequest.decode(frame.header, frame.at);
    if (fields.targetTransferTag !== RESERVED_TAG) {
      if (this.#pendingText?.tag !== fields.targetTransferTag) {
        this.#reject(rejectReason.invalidPduField, frame);
        return;
      }
      this.#sendText(fields.initiatorTaskTag, this.#pendingText.rest);
      return;
    }
    const request = Buffer.concat([this.#textRequest, ...frame.data]);
    if (request.length > MAX_TEXT_BYTES) {
      this.#textRequest = new Uint8Array();
      this.#reject(rejectReason.protocolError, frame);
      return;
    }
    if (fields.continues) {
      this.#textRequest = request;
      // Asks for the rest of the text by an empty response (§11.11.2).
      this.#responder.text(fields.initiatorTaskTag, new Uint8Array(), RESERVED_TAG);
      return;
    }
    this.#textRequest = new Uint8Array();
    try {
      const { listTargets, targetName } = this.options;
      const { text, maxRecvDataSegmentBytes } = answerTextRequest(
        decodeTextKeys(request),
        listTargets(),
        targetName,
      );
      // In force from the response on, since the initiator has said it before that was sent (§13.12).
      if (maxRecvDataSegmentBytes !== undefined) this.#responder.limitDataSegments(maxRecvDataSegmentBytes);
      this.#sendText(fields.initiatorTaskTag, text);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#reject(rejectReason.protocolError, frame);
    }
  }

  /** Sends as much as the initiator takes at once; the rest waits for its next, empty, request. */
  #sendText(initiatorTaskTag: number, text: Uint8Array): void {
    const limit = this.#responder.maxSendDataSegmentBytes;
    if (text.length <= limit) {
      this.#pendingText = undefined;
      this.#responder.text(initiatorTaskTag, text, RESERVED_TAG);
      return;
    }
    const tag = this.#pendingText?.tag ?? ++this.#nextPingTag;
    this.#pendingText = { tag, rest: text.subarray(limit) };
    this.#responder.text(initiatorTaskTag, text.subarray(0, limit), tag);
  }

  #logout(frame: PduFrame): void {
    const fields = pdu.logoutRequest.decode(frame.header, frame.at);
    if (fields.reason === logoutReason.removeForRecovery) {
      this.#responder.logout(fields.initiatorTaskTag, logoutAnswer.recoveryNotSupported);
      return;
    }
    if (fields.reason > logoutReason.removeForRecovery) {
      this.#reject(rejectReason.invalidPduField, frame);
      return;
    }
    if (fields.reason === logoutReason.closeConnection && fields.cid !== this.options.cid) {
      this.#responder.logout(fields.initiatorTaskTag, logoutAnswer.cidNotFound);
      return;
    }
    void this.close().then(() => {
      this.#responder.logout(fields.initiatorTaskTag, logoutAnswer.closed);
      this.options.transport.end();
    });
  }

  /**
   * Ends the session: nothing is answered from here on. Resolves once no task of it can change a block any
   * more. Closing again waits for the same end.
   */
  close(): Promise<void> {
    this.#closing ??= this.#endTasks().then(() => this.detachUnits());
    return this.#closing;
  }

  /** As close, but what the initiator holds of its units stays, for the connection that takes this one's place. */
  closeConnection(): Promise<void> {
    this.#closing ??= this.#endTasks();
    return this.#closing;
  }

  async #endTasks(): Promise<void> {
    await this.#tasks.close();
    this.#ended = true;
  }

  /** Gives up what the initiator holds for as long as its session. */
  detachUnits(): void {
    for (const unit of this.options.units.values()) unit.detach();
  }
}

const COMMANDS: ReadonlySet<number> = new Set([
  opcode.nopOut,
  opcode.scsiCommand,
  opcode.taskManagementRequest,
  opcode.textRequest,
  opcode.logoutRequest,
]);

function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
