import type { Counters } from '../../base/counters.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { type Sense, sense } from '../scsi/sense.ts';
import { CommandQueue, commandSN } from './command-queue.ts';
import { CommandWindow } from './command-window.ts';
import type { DataMemory } from './data-memory.ts';
import { headerOf, type PduFrame } from './framer.ts';
import { MAX_DATA_AHEAD_BYTES, MAX_IMMEDIATE_TASKS } from './limits.ts';
import type { SessionParameters } from './login-keys.ts';
import { opcode, RESERVED_TAG, rejectReason } from './opcode.ts';
import * as pdu from './pdu.ts';
import type { TargetListing } from './ports.ts';
import { type PduSink, Responder } from './responder.ts';
import { planTaskManagement, taskResponse } from './task-management.ts';
import { type ManagedSession, manageTasks } from './task-manager.ts';
import { TaskSet } from './task-set.ts';
import { TextExchange } from './text-exchange.ts';
import type { Traffic } from './traffic.ts';

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
  /** Width of the CmdSN window. */
  readonly queueDepth: number;
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
  readonly #queue: CommandQueue;
  #sawNopOut = false;
  #nextPingTag = 0;
  readonly #text: TextExchange;
  /** Tags of task management requests that are not answered. */
  readonly #managing = new Set<number>();
  #closing: Promise<void> | undefined;
  #ended = false;

  constructor(options: SessionOptions) {
    this.options = options;
    this.#window = new CommandWindow(options.firstCmdSN, options.queueDepth);
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
    this.#queue = new CommandQueue(this.#window, (frame) => this.#deliver(opcodeOf(frame), frame, false));
    this.#text = new TextExchange({
      responder: this.#responder,
      listTargets: options.listTargets,
      targetName: options.targetName,
    });
    this.#managed = {
      units: options.units,
      tasks: this.#tasks,
      endTasks: (attention, lun) => this.endTasks(attention, lun),
      others: () => [...options.sessionsOfTarget()].filter((session) => session !== this),
      isManaging: (taskTag) => this.#managing.has(taskTag),
      received: (cmdSN) => this.#queue.received(cmdSN),
      skip: (cmdSN) => this.#queue.skip(cmdSN),
      skipAllBefore: (cmdSN) => this.#queue.skipAllBefore(cmdSN),
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

  /** Whether the initiator can be trusted to answer a NOP-In; iPXE never does, and a discovery session has none (§7.4.3). */
  get answersNopIn(): boolean {
    const { targetName, parameters } = this.options;
    return targetName !== undefined && (this.#sawNopOut || parameters.offeredImmediateData);
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
    const code = opcodeOf(frame);
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
    const arrival = this.#queue.receive(frame);
    if (arrival === 'ignore') this.options.counters.add('iscsi.command.outside-window');
    if (arrival === 'hold' && this.#queue.heldBytes > MAX_DATA_AHEAD_BYTES) {
      this.options.transport.destroy('data-ahead-of-a-gap');
    }
  }

  #deliver(code: number, frame: PduFrame, immediate: boolean): void {
    // All but SCSI commands are answered in one go, or hold no place in the window while they are not.
    if (!immediate && code !== opcode.scsiCommand) this.#window.answered();
    const reason = this.#carryOut(code, frame);
    if (reason === undefined) return;
    if (!immediate) {
      if (code === opcode.scsiCommand) this.#window.answered();
      this.#window.refuse(commandSN(frame));
    }
    this.#reject(reason, frame);
    // A field with a value that there is none of is a format error, which ends the session (§7.7).
    if (reason === rejectReason.invalidPduField && code !== opcode.textRequest) this.options.transport.end();
  }

  /** @returns a reject reason when it cannot be done */
  #carryOut(code: number, frame: PduFrame): number | undefined {
    if (this.options.targetName === undefined && !DISCOVERY_COMMANDS.has(code)) {
      return rejectReason.protocolError;
    }
    switch (code) {
      case opcode.scsiCommand:
        return this.#tasks.command(frame);
      case opcode.nopOut:
        return this.#nopOut(frame);
      case opcode.taskManagementRequest:
        return this.#taskManagement(frame);
      case opcode.textRequest:
        return this.#text.receive(pdu.textRequest.decode(frame.header, frame.at), frame.data);
      default:
        return this.#logout(frame);
    }
  }

  #reject(reason: number, frame: PduFrame): void {
    this.options.counters.add(`iscsi.rejected.${reason}`);
    this.#responder.reject(reason, headerOf(frame));
  }

  #nopOut(frame: PduFrame): undefined {
    const fields = pdu.nopOut.decode(frame.header, frame.at);
    this.#sawNopOut = true;
    // An answer to our own ping has no tag.
    if (fields.initiatorTaskTag !== RESERVED_TAG) {
      this.#responder.nopReply(fields.initiatorTaskTag, Buffer.concat(frame.data));
    }
  }

  #taskManagement(frame: PduFrame): number | undefined {
    const fields = pdu.taskManagementRequest.decode(frame.header, frame.at);
    const { initiatorTaskTag } = fields;
    if (this.#managing.has(initiatorTaskTag)) return rejectReason.taskInProgress;
    if (this.#managing.size >= MAX_IMMEDIATE_TASKS) return rejectReason.immediateCommandReject;
    this.options.counters.add(`iscsi.task-management.${fields.function}`);
    const plan = planTaskManagement(fields.function, this.options.parameters.protocolLevel);
    this.#managing.add(initiatorTaskTag);
    void manageTasks(plan, fields, this.#managed).then(({ response, information }) => {
      this.#managing.delete(initiatorTaskTag);
      if (this.#closing !== undefined) return;
      this.#responder.taskManagement(initiatorTaskTag, response, information);
      if (response !== taskResponse.complete) return;
      if (plan.kind === 'nexus-reset') this.options.transport.end();
      if (plan.kind !== 'target' || !plan.cold) return;
      for (const session of this.options.sessionsOfTarget()) session.options.transport.end();
    });
    return undefined;
  }

  /** Ends tasks of one LUN or all, without responses, and tells the initiator by `attention` that it happened. */
  async endTasks(attention: Sense | undefined, lun?: number): Promise<void> {
    const units = [...this.options.units].filter(([number]) => lun === undefined || number === lun);
    // Of tasks that were cleared only those are told who had some (SAM-5 §7.5).
    const told = units.filter(
      ([number]) => attention !== sense.commandsCleared || this.#tasks.hasAny(number),
    );
    const ended = this.#tasks.abortAll(lun);
    if (attention !== undefined) for (const [, unit] of told) unit.raiseAttention(attention);
    await ended;
  }

  #logout(frame: PduFrame): number | undefined {
    const { reason, cid, initiatorTaskTag } = pdu.logoutRequest.decode(frame.header, frame.at);
    const isDiscovery = this.options.targetName === undefined;
    if (reason > logoutReason.removeForRecovery) return rejectReason.invalidPduField;
    if (isDiscovery && reason !== logoutReason.closeSession) return rejectReason.protocolError;
    if (reason === logoutReason.removeForRecovery) {
      this.#responder.logout(initiatorTaskTag, logoutAnswer.recoveryNotSupported);
    } else if (reason === logoutReason.closeConnection && cid !== this.options.cid) {
      this.#responder.logout(initiatorTaskTag, logoutAnswer.cidNotFound);
    } else {
      void this.close().then(() => {
        this.#responder.logout(initiatorTaskTag, logoutAnswer.closed);
        this.options.transport.end();
      });
    }
    return undefined;
  }

  /**
   * Ends the session: nothing is answered from here on. Resolves once no task of it can change a block any
   * more. Closing again waits for the same end.
   */
  close(): Promise<void> {
    this.#closing ??= this.#endTasks().then(() => this.detachUnits());
    return this.#closing;
  }

  /**
   * As close, but what the initiator holds of its units stays, for the connection that takes this one's place. With the next
   * command to a unit whose tasks this ended, the initiator is told (§11.14.5).
   */
  closeConnection(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    for (const [lun, unit] of this.options.units) {
      if (this.#tasks.hasAny(lun)) unit.raiseAttention(sense.clearedByProtocolEvent);
    }
    this.#closing = this.#endTasks();
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

/** What a discovery session takes, and of these not all (§4.3). */
const DISCOVERY_COMMANDS: ReadonlySet<number> = new Set([opcode.textRequest, opcode.logoutRequest]);

function opcodeOf({ header, at }: PduFrame): number {
  return (header[at] as number) & 0x3f;
}
